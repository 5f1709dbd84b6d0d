// Makes the server's page live: asks for it again, replaces what changed, keeps focus, says changes aloud.
"use strict";
(() => {
  const EVERY = 5000;
  const $ = (id) => document.getElementById(id);
  const rows = $("rows");
  // What was loaded: a search that is typed meanwhile changes the address, and narrows what is here without the server.
  const address = location.href;
  let tag = `"${document.querySelector("meta[name=tag]").content}"`;

  function swap(old, fresh) {
    if (old.outerHTML === fresh.outerHTML) return;
    const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const open = [...old.querySelectorAll("details[open]"), ...(old.matches("details[open]") ? [old] : [])].length > 0;
    old.replaceWith(fresh);
    if (open) (fresh.matches("details") ? fresh : fresh.querySelector("details"))?.setAttribute("open", "");
    if (focus) [...fresh.querySelectorAll("a")].find((a) => a.getAttribute("href") === focus)?.focus();
  }
  function swapRows(list) {
    const known = new Map([...rows.rows].map((row) => [row.id, row]));
    [...list.rows].forEach((row, at) => {
      const old = known.get(row.id);
      known.delete(row.id);
      if (old) {
        if (rows.rows[at] !== old && !old.contains(document.activeElement)) rows.insertBefore(old, rows.rows[at] || null);
        row.hidden = old.hidden;
        swap(old, row);
      } else rows.insertBefore(row, rows.rows[at] || null);
    });
    known.forEach((row) => row.remove());
    document.dispatchEvent(new Event("page:rows"));
  }
  function update(fresh) {
    const said = document.querySelector("[data-headline]")?.dataset.headline;
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const old = $(part.id);
      if (old) swap(old, part);
    }
    const list = fresh.getElementById("rows");
    if (rows && list) swapRows(list);
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
      const answer = await fetch(address, { headers: { "If-None-Match": tag }, cache: "no-store" });
      if (answer.status === 200) {
        const body = await answer.text();
        update(new DOMParser().parseFromString(body, "text/html"));
        tag = answer.headers.get("ETag");
      } else if (answer.status !== 304) throw new Error(`it answers ${answer.status}`);
      lost = null;
    } catch {
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
