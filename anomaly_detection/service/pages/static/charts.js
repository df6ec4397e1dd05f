// What is over time, drawn by uPlot: lines of two scales, or with "dots" the values of others and a record's own.
"use strict";

(() => {
  const HEIGHTS = { true: 170, false: 240 };
  const DAY = 86400;

  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

  const { lang } = document.documentElement;
  const numbers = new Intl.NumberFormat(lang);
  const number = (value) => (value === null ? "" : numbers.format(value));

  // Days of the overview and dates in records: they have no zone.
  function moment(second, parts) { return new Date(1000 * second).toLocaleString(lang, { timeZone: "UTC", ...parts }); }
  const day = (second) => moment(second, second % DAY ? { dateStyle: "medium", timeStyle: "short" } : { dateStyle: "medium" });

  function ticks(plot, seconds, axis, space, step) {
    if (step < DAY) return seconds.map((second) => moment(second, { hour: "numeric", minute: "2-digit", day: "numeric", month: "short" }));
    const parts = step < 28 * DAY ? { day: "numeric", month: "short" } : { month: "short", year: "numeric" };
    return seconds.map((second) => moment(second, parts));
  }

  function diamond(plot, index) {
    plot.data[index].forEach((value, i) => {
      if (value === null) return;
      const size = 7 * devicePixelRatio;
      const [x, y] = [plot.valToPos(plot.data[0][i], "x", true), plot.valToPos(value, "left", true)];
      plot.ctx.fillStyle = colour("--alarm");
      plot.ctx.beginPath();
      [[0, -size], [size, 0], [0, size], [-size, 0]].forEach(([right, down]) => plot.ctx.lineTo(x + right, y + down));
      plot.ctx.fill();
    });
  }

  function series(one, place, { x, dots }) {
    const paint = colour(["--bar", "--alarm"][place]);
    if (!dots) return { label: one.label, value: (_, value) => number(value), stroke: paint, fill: place ? null : `${paint}33`, width: 2, scale: place ? "right" : "left", points: { show: x.length < 40 } };
    const points = place ? { show: (plot, index) => diamond(plot, index) } : { show: true, size: 5, stroke: paint, fill: paint };
    return { label: one.label, stroke: paint, scale: "left", paths: () => null, points };
  }

  function options(at, chart) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const scale = { ...axis, values: (_, values) => values.map(number) };
    const fromZero = { range: (_, low, high) => [0, Math.max(1, high)] };
    const made = {
      width: at.clientWidth, height: HEIGHTS[Boolean(chart.dots)],
      series: [{ label: at.dataset.x, value: (_, second) => second && day(second) }, ...chart.series.map((one, i) => series(one, i, chart))],
      tzDate: (second) => uPlot.tzDate(new Date(1000 * second), "UTC"),
      axes: [{ ...axis, values: ticks, space: 110 }, { ...scale, scale: "left", size: 60 }],
    };
    if (chart.dots) {
      made.legend = { show: false };
      // A single moment has no width of its own.
      made.scales = { x: { range: (_, low, high) => (low === high ? [low - DAY, high + DAY] : [low - 0.03 * (high - low), high + 0.03 * (high - low)]) } };
    } else {
      made.scales = { left: fromZero, right: fromZero };
      // Between days there is nothing.
      made.axes[0].incrs = [1, 2, 7, 14, 28, 91, 182, 365].map((days) => days * DAY);
      if (chart.series.length > 1) made.axes.push({ ...scale, scale: "right", side: 1, grid: { show: false } });
    }
    return made;
  }

  // It is loaded where there is something to draw: most pages paint sooner without it.
  const { uplot, style } = document.currentScript.dataset;
  const added = (kind, values) => new Promise((done) => {
    document.head.append(Object.assign(document.createElement(kind), values, { onload: done }));
  });
  let loaded = null;

  async function draw() {
    if (!document.querySelector(".chart[data-chart]:empty")) return;
    await (loaded ??= Promise.all([added("link", { rel: "stylesheet", href: style }), added("script", { src: uplot })]));
    document.querySelectorAll(".chart[data-chart]:empty").forEach((at) => {
      const chart = JSON.parse(at.dataset.chart);
      const plot = new uPlot(options(at, chart), [chart.x, ...chart.series.map((one) => one.values)], at);
      addEventListener("resize", () => { if (at.isConnected) plot.setSize({ width: at.clientWidth, height: HEIGHTS[Boolean(chart.dots)] }); });
    });
  }
  ["htmx:afterSettle", "htmx:oobAfterSwap"].forEach((kind) => document.addEventListener(kind, draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.querySelectorAll(".chart[data-chart]").forEach((at) => at.replaceChildren());
    draw();
  });
  draw();
})();
