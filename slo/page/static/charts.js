// The charts of one SLO: budget left (with its bounds), burn rate per step and coverage, on one time axis. D3 draws.
"use strict";
(() => {
  const host = document.getElementById("charts");
  const source = document.getElementById("chart-data");
  const MARGIN = { left: 52, right: 14, top: 20, bottom: 24 };
  const HEIGHT = { budget: 190, gap: 26, burn: 96, cover: 8 };
  const percent = (v) => `${(v * 100).toFixed(Math.abs(v) < 0.1 ? 2 : 1).replace(/\.?0+$/, "").replace("-", "−")} %`;
  const rate = (v) => `${v >= 100 ? v.toFixed(0) : v.toFixed(v >= 10 ? 1 : 2)}×`;
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
    const height = MARGIN.top + HEIGHT.budget + HEIGHT.gap + HEIGHT.burn + 12 + HEIGHT.cover + MARGIN.bottom;
    const svg = d3.select(host).append("svg").attr({ width, height, "aria-hidden": "true" })
      .append("g").attr("transform", `translate(${MARGIN.left},${MARGIN.top})`);
    const x = d3.time.scale.utc().domain([points[0].at, points[points.length - 1].end]).range([0, inner]);

    // Budget left
    const seen = points.filter((p) => p.left !== null);
    const least = d3.min(seen, (p) => p.low ?? p.left), most = d3.max(seen, (p) => p.high ?? p.left);
    const pad = Math.max(0.02, (most - least) * 0.12);
    const y = d3.scale.linear().domain([least - pad < 0 && least >= 0 ? 0 : least - pad, Math.min(1, most + pad)]).range([HEIGHT.budget, 0]);
    grid(svg, y, 4, percent, inner);
    if (y.domain()[0] <= 0 && y.domain()[1] >= 0) line(svg, "zero", y(0), inner);
    const has = (p) => p.left !== null;
    if (data.bounds) svg.append("path").attr("class", "band").attr("d", d3.svg.area().defined(has)
      .x((p) => x(p.end)).y0((p) => y(p.low)).y1((p) => y(p.high))(points));
    svg.append("path").attr("class", "budget").attr("d", d3.svg.line().defined(has).x((p) => x(p.end)).y((p) => y(p.left))(points));
    svg.append("text").attr({ class: "name", x: 4, y: -6 }).text("Budget left");

    // Burn rate
    const low = svg.append("g").attr("transform", `translate(0,${HEIGHT.budget + HEIGHT.gap})`);
    const top = Math.max(2, d3.max(points, (p) => p.burn ?? 0) * 1.1);
    const b = d3.scale.linear().domain([0, top]).range([HEIGHT.burn, 0]);
    grid(low, b, 3, (v) => `${v}×`, inner);
    const bar = Math.max(1, inner / points.length - (inner / points.length > 4 ? 1 : 0));
    low.selectAll("rect").data(points.filter((p) => p.burn > 0)).enter().append("rect")
      .attr({ class: (p) => (p.burn > 1 ? "burn hot" : "burn"), width: bar, x: (p) => x(p.at),
        y: (p) => Math.min(b(p.burn), HEIGHT.burn - 1), height: (p) => Math.max(1, HEIGHT.burn - b(p.burn)) });
    const factor = data.factors.filter(([, f]) => f <= top).sort((a, c) => c[1] - a[1])[0];
    if (factor) {
      line(low, "factor", b(factor[1]), inner);
      low.append("text").attr({ class: "axis over", x: 4, y: b(factor[1]) - 4 }).text(`${factor[2]} at ${factor[1]}× over ${factor[0]}`);
    }
    low.append("text").attr({ class: "name", x: 4, y: -6 }).text("Burn rate per step");

    // Coverage: what was not watched is said, not bridged.
    const cover = low.append("g").attr("transform", `translate(0,${HEIGHT.burn + 12})`);
    cover.append("rect").attr({ class: "unwatched", width: inner, height: HEIGHT.cover });
    cover.selectAll(".watched").data(points.filter((p) => p.cover > 0)).enter().append("rect")
      .attr({ class: "watched", x: (p) => x(p.at), width: inner / points.length + 0.5, height: HEIGHT.cover, opacity: (p) => p.cover });
    cover.append("text").attr({ class: "axis", x: -8, y: 8, "text-anchor": "end" }).text("watched");
    const axis = d3.svg.axis().scale(x).orient("bottom").ticks(Math.max(3, Math.floor(inner / 120))).tickFormat(label).tickSize(4).outerTickSize(0);
    cover.append("g").attr({ class: "time", transform: `translate(0,${HEIGHT.cover})` }).call(axis);

    // One cursor over all three
    const total = HEIGHT.budget + HEIGHT.gap + HEIGHT.burn + 12 + HEIGHT.cover;
    const cursor = svg.append("line").attr({ class: "cursor", y1: 0, y2: total }).style("display", "none");
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    host.append(tip);
    svg.append("rect").attr({ class: "catch", width: inner, height: total })
      .on("mousemove", function () {
        const [mx] = d3.mouse(this);
        const p = points[Math.max(0, Math.min(points.length - 1, Math.floor((mx / inner) * points.length)))];
        cursor.style("display", null).attr({ x1: x(p.end), x2: x(p.end) });
        tip.hidden = false;
        tip.innerHTML = `<b>${utc(p.at)} UTC</b><span>budget ${p.left === null ? "not known" : percent(p.left)}</span>` +
          `<span>burn ${p.burn === null ? "no events" : rate(p.burn)}</span><span>watched ${percent(p.cover)}</span>`;
        const at = MARGIN.left + x(p.end);
        tip.style.left = `${Math.min(at + 12, width - tip.offsetWidth - 4)}px`;
      })
      .on("mouseout", () => { cursor.style("display", "none"); tip.hidden = true; });
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
  let width = 0;
  new ResizeObserver(() => { if (host.clientWidth !== width) { width = host.clientWidth; draw(); } }).observe(host);
  document.addEventListener("page:chart", draw);
})();
