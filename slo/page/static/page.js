// Theme, search and keys.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const search = $("q");

  // Theme
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = $("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, then */ }
  });

  // Search: the overview narrows as one types, and its address with it, so that it can be sent. Enter goes to the first
  // hit; where there is none, and elsewhere, the form asks the server, which knows GPUs and nodes too.
  const rows = $("rows");
  const words = () => search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const narrowed = new URLSearchParams(location.search).get("q");
  function filter() {
    if (!rows) return;
    const wanted = words();
    let shown = 0, all = 0;
    for (const row of rows.rows) {
      const on = wanted.every((w) => row.dataset.search.includes(w));
      row.hidden = !on;
      if (!row.matches(".service")) { shown += on; all += 1; }
    }
    // A service stands above its own SLOs alone.
    for (const head of rows.querySelectorAll(".service")) {
      let next = head.nextElementSibling;
      while (next && next.hidden) next = next.nextElementSibling;
      head.hidden = !next || next.matches(".service");
    }
    if (!narrowed) $("shown").textContent = wanted.length ? `${shown} of ${all}` : $("shown").dataset.all;
    $("none").hidden = shown > 0 || all === 0;
  }
  if (rows) {
    $("shown").dataset.all = $("shown").textContent;
    document.addEventListener("page:rows", filter);
    search.form.addEventListener("submit", (event) => {
      const first = [...rows.rows].find((row) => !row.hidden && !row.matches(".service"));
      if (narrowed || !first) return;
      event.preventDefault();
      first.querySelector("a").focus();
    });
    search.addEventListener("input", () => {
      if (narrowed) return; // what the server left out cannot be shown again from here: Enter asks for it
      filter();
      const address = new URL(location);
      if (words().length) address.searchParams.set("q", search.value);
      else address.searchParams.delete("q");
      history.replaceState(null, "", address);
    });
  }
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && document.activeElement === search) {
      search.value = "";
      search.dispatchEvent(new Event("input"));
      search.blur();
    }
  });
})();
