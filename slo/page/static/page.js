// Makes the server's page live: asks for it again, replaces what changed, keeps focus, says changes aloud.
"use strict";
(() => {
  const EVERY = 5000;
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
    document.dispatchEvent(new Event("page:theme"));
  });

  // Search: on the overview it filters as one types; elsewhere it is a form that goes there.
  const rows = $("rows");
  function filter() {
    if (!rows) return;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows.rows) {
      const on = words.every((w) => row.dataset.search.includes(w));
      row.hidden = !on;
      shown += on;
    }
    $("shown").textContent = words.length ? `${shown} of ${rows.rows.length}` : rows.rows.length;
    $("none").hidden = shown > 0 || rows.rows.length === 0;
  }
  const filtered = new URLSearchParams(location.search).has("q");
  if (rows) {
    search.form.addEventListener("submit", (event) => {
      if (filtered) return;
      event.preventDefault();
      const first = [...rows.rows].find((row) => !row.hidden);
      if (first) first.querySelector("a").focus();
    });
    search.addEventListener("input", () => { if (!filtered) filter(); });
  }
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && document.activeElement === search) {
      search.value = "";
      filter();
      search.blur();
    }
  });

  // Live
  let tag = `"${document.querySelector("meta[name=tag]").content}"`;
  function swap(old, fresh) {
    if (old.innerHTML === fresh.innerHTML && old.className === fresh.className) return;
    const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const open = [...old.querySelectorAll("details[open]"), ...(old.matches("details[open]") ? [old] : [])].length > 0;
    old.replaceWith(fresh);
    if (open) (fresh.matches("details") ? fresh : fresh.querySelector("details"))?.setAttribute("open", "");
    if (focus) [...fresh.querySelectorAll("a")].find((a) => a.getAttribute("href") === focus)?.focus();
  }
  function update(fresh) {
    const said = document.querySelector("[data-headline]")?.dataset.headline;
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const old = $(part.id);
      if (old) swap(old, part);
    }
    const list = fresh.getElementById("rows");
    if (rows && list) {
      const known = new Map([...rows.rows].map((row) => [row.id, row]));
      [...list.rows].forEach((row, at) => {
        const old = known.get(row.id);
        known.delete(row.id);
        if (old) { if (rows.rows[at] !== old && !old.contains(document.activeElement)) rows.insertBefore(old, rows.rows[at] || null); swap(old, row); }
        else rows.insertBefore(row, rows.rows[at] || null);
      });
      known.forEach((row) => row.remove());
      if (!filtered) filter();
    }
    const data = fresh.getElementById("chart-data");
    if (data && $("chart-data").textContent !== data.textContent) {
      $("chart-data").textContent = data.textContent;
      document.dispatchEvent(new Event("page:chart"));
    }
    document.title = fresh.title;
    const now = document.querySelector("[data-headline]")?.dataset.headline;
    if (now && now !== said) $("announce").textContent = now;
  }
  let lost = null;
  async function ask() {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { "If-None-Match": tag }, cache: "no-store" });
      if (answer.status === 200) {
        const body = await answer.text();
        update(new DOMParser().parseFromString(body, "text/html"));
        tag = answer.headers.get("ETag");
      } else if (answer.status !== 304) throw new Error(`it answers ${answer.status}`);
      lost = null;
    } catch (error) {
      lost = lost || new Date();
      $("offline").lastElementChild.textContent =
        `The service has not answered since ${lost.toISOString().slice(11, 16)} UTC. What stands here is older.`;
    }
    $("offline").hidden = lost === null;
  }
  if (tag !== '""') { // a page that was refused has nothing to follow
    document.addEventListener("visibilitychange", ask);
    setInterval(ask, EVERY);
  }
})();
