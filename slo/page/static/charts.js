// The charts of one SLO on one time axis: budget left (with its bounds), burn per step, each alert's burn rates against
// its factor, coverage; maintenance and new revisions marked. D3 draws. The events below share the axis and the cursor.
"use strict";
(() => {
  const host = document.getElementById("charts");
  const source = document.getElementById("chart-data");
  const frame = host.closest(".timeline");
  const cursor = frame.querySelector(".cursor");
  const MARGIN = { left: 52, right: 14, top: 20, bottom: 24 };
  const HEIGHT = { budget: 180, gap: 30, burn: 84, alert: 40, cover: 8 };
  const FIRING = 3, UNDECIDED = 2;
  const percent = (v) => `${(v * 100).toFixed(Math.abs(v) < 0.1 ? 2 : 1).replace(/\.?0+$/, "").replace("-", "−")} %`;
  const rate = (v) => `${v >= 100 ? v.toFixed(0) : v.toFixed(v >= 10 ? 1 : 2).replace(/\.?0+$/, "")}×`;
  const label = d3.time.format.utc.multi([
    ["%H:%M", (d) => d.getUTCHours() || d.getUTCMinutes()],
    ["%e %b", () => true],
  ]);
  const utc = d3.time.format.utc("%e %b %H:%M");

  function draw() {
    const data = JSON.parse(source.textContent);
    const step = data.step * 1000;
    const points = data.points.map(([start, cover, burn, left, low, high]) =>
      ({ at: new Date(start * 1000), end: new Date(start * 1000 + step), cover, burn, left, low, high }));
    host.replaceChildren();
    if (!points.some((p) => p.left !== null)) {
      host.innerHTML = "<p class='calm'>Nothing was counted in this window.</p>";
      return;
    }
    const width = Math.max(300, host.clientWidth);
    const inner = width - MARGIN.left - MARGIN.right;
    const alertsAt = HEIGHT.budget + HEIGHT.gap + HEIGHT.burn + HEIGHT.gap;
    const coverAt = alertsAt + data.alerts.length * (HEIGHT.alert + HEIGHT.gap) - HEIGHT.gap + 12;
    const total = coverAt + HEIGHT.cover;
    const svg = d3.select(host).append("svg").attr({ width, height: MARGIN.top + total + MARGIN.bottom, "aria-hidden": "true" })
      .append("g").attr("transform", `translate(${MARGIN.left},${MARGIN.top})`);
    const x = d3.time.scale.utc().domain([points[0].at, points[points.length - 1].end]).range([0, inner]).clamp(true);
    const at = (seconds) => x(new Date(seconds * 1000));

    for (const [since, until] of data.excluded)
      svg.append("rect").attr({ class: "maintenance", x: at(since), width: Math.max(2, at(until) - at(since)), height: total });

    // Budget left
    const seen = points.filter((p) => p.left !== null);
    const least = d3.min(seen, (p) => p.low ?? p.left), most = d3.max(seen, (p) => p.high ?? p.left);
    const pad = Math.max(0.02, (most - least) * 0.12);
    const y = d3.scale.linear().domain([least - pad < 0 && least >= 0 ? 0 : least - pad, Math.min(1, most + pad)]).range([HEIGHT.budget, 0]);
    grid(svg, y, 5, percent, inner);
    if (y.domain()[0] <= 0 && y.domain()[1] >= 0) line(svg, "zero", y(0), inner);
    const has = (p) => p.left !== null;
    if (data.bounds) svg.append("path").attr("class", "band").attr("d", d3.svg.area().defined(has)
      .x((p) => x(p.end)).y0((p) => y(p.low)).y1((p) => y(p.high))(points));
    svg.append("path").attr("class", "budget").attr("d", d3.svg.line().defined(has).x((p) => x(p.end)).y((p) => y(p.left))(points));
    name(svg, data.bounds ? "Budget left, between its bounds" : "Budget left");
    if (data.revision) {
      const [since, number] = data.revision;
      svg.append("line").attr({ class: "revision", x1: at(since), x2: at(since), y2: total });
      svg.append("text").attr({ class: "axis over", x: at(since) + 5, y: 10 }).text(`revision ${number}`);
    }

    // Burn of each step
    const low = svg.append("g").attr("transform", `translate(0,${HEIGHT.budget + HEIGHT.gap})`);
    const top = Math.max(2, d3.max(points, (p) => p.burn ?? 0) * 1.1);
    const b = d3.scale.linear().domain([0, top]).range([HEIGHT.burn, 0]);
    grid(low, b, 3, (v) => `${v}×`, inner);
    const bar = Math.max(1, inner / points.length - (inner / points.length > 4 ? 1 : 0));
    low.selectAll("rect").data(points.filter((p) => p.burn > 0)).enter().append("rect")
      .attr({ class: (p) => (p.burn > 1 ? "burn hot" : "burn"), width: bar, x: (p) => x(p.at),
        y: (p) => Math.min(b(p.burn), HEIGHT.burn - 1), height: (p) => Math.max(1, HEIGHT.burn - b(p.burn)) });
    name(low, "Burn rate of each step");

    data.alerts.forEach((alert, number) => {
      alertRow(svg.append("g").attr("transform", `translate(0,${alertsAt + number * (HEIGHT.alert + HEIGHT.gap)})`), alert, points, x, inner);
    });

    // Coverage: what was not watched is said, not bridged.
    const cover = svg.append("g").attr("transform", `translate(0,${coverAt})`);
    cover.append("rect").attr({ class: "unwatched", width: inner, height: HEIGHT.cover });
    cover.selectAll(".watched").data(points.filter((p) => p.cover > 0)).enter().append("rect")
      .attr({ class: "watched", x: (p) => x(p.at), width: inner / points.length + 0.5, height: HEIGHT.cover, opacity: (p) => p.cover });
    cover.append("text").attr({ class: "axis", x: -8, y: 8, "text-anchor": "end" }).text("watched");
    const axis = d3.svg.axis().scale(x).orient("bottom").ticks(Math.max(3, Math.floor(inner / 120))).tickFormat(label).tickSize(4).outerTickSize(0);
    cover.append("g").attr({ class: "time", transform: `translate(0,${HEIGHT.cover})` }).call(axis);

    // One cursor over all of it, and over the events below
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    host.append(tip);
    frame.onmousemove = (event) => {
      const mx = event.clientX - host.getBoundingClientRect().left - MARGIN.left;
      const on = mx >= 0 && mx <= inner;
      cursor.classList.toggle("on", on);
      tip.hidden = !on;
      if (!on) return;
      const index = Math.max(0, Math.min(points.length - 1, Math.floor((mx / inner) * points.length)));
      const p = points[index];
      cursor.style.left = `${MARGIN.left + mx}px`;
      const fires = data.alerts.filter((a) => a.points[index] && a.points[index][2] === FIRING)
        .map((a) => `<span class="hot">${a.severity} over ${a.long} fires</span>`).join("");
      tip.innerHTML = `<b>${utc(p.at)} UTC</b><span>budget ${p.left === null ? "not known" : percent(p.left)}</span>` +
        `<span>burn ${p.burn === null ? "no events" : rate(p.burn)}</span><span>watched ${percent(p.cover)}</span>${fires}`;
      tip.style.left = `${Math.min(MARGIN.left + mx + 14, width - tip.offsetWidth - 4)}px`;
    };
    frame.onmouseleave = () => { cursor.classList.remove("on"); tip.hidden = true; };
  }

  // One alert: both windows' burn rates, its factor as a line, and where it fired. The scale ends at thrice the factor.
  function alertRow(g, alert, points, x, inner) {
    const top = Math.min(alert.factor * 3, Math.max(alert.factor * 1.35, d3.max(alert.points, (p) => Math.max(p[0] ?? 0, p[1] ?? 0)) * 1.1));
    const y = d3.scale.linear().domain([0, top]).range([HEIGHT.alert, 0]).clamp(true);
    const width = inner / points.length;
    g.append("rect").attr({ class: "above", width: inner, height: y(alert.factor) });
    g.append("line").attr({ class: "grid", x2: inner, y1: HEIGHT.alert, y2: HEIGHT.alert });
    for (const state of [UNDECIDED, FIRING]) {
      g.selectAll(null).data(alert.points.map((p, i) => [p[2], i]).filter((p) => p[0] === state)).enter().append("rect")
        .attr({ class: state === FIRING ? "fires" : "undecided-at", x: (p) => x(points[p[1]].at), width: width + 0.5, height: HEIGHT.alert });
    }
    for (const [which, style] of [[1, "short"], [0, "long"]])
      g.append("path").attr("class", `rate ${style}`).attr("d", d3.svg.line().defined((p) => p[which] !== null)
        .x((p, i) => x(points[i].end)).y((p) => y(p[which]))(alert.points.slice(0, points.length)));
    line(g, "factor", y(alert.factor), inner);
    g.append("text").attr({ class: "axis", x: -8, y: y(alert.factor) + 4, "text-anchor": "end" }).text(rate(alert.factor));
    name(g, `${alert.severity === "page" ? "Page" : "Ticket"}: ${alert.long} and ${alert.short} above ${rate(alert.factor)}`);
  }
  function grid(to, scale, ticks, format, inner) {
    const g = to.append("g");
    for (const v of scale.ticks(ticks)) {
      g.append("line").attr({ class: "grid", x2: inner, y1: scale(v), y2: scale(v) });
      g.append("text").attr({ class: "axis", x: -8, y: scale(v) + 4, "text-anchor": "end" }).text(format(v));
    }
  }
  function line(to, name, y, inner) {
    to.append("line").attr({ class: name, x2: inner, y1: y, y2: y });
  }
  function name(to, words) {
    to.append("text").attr({ class: "name", y: -8 }).text(words);
  }
  let width = 0;
  new ResizeObserver(() => { if (host.clientWidth !== width) { width = host.clientWidth; draw(); } }).observe(host);
  document.addEventListener("page:chart", draw);
})();
