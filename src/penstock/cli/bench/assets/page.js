"use strict";
// Draws the plots of a report from the data that stand in the page.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const trim = (value) => String(parseFloat(value.toPrecision(3)));
  const seconds = (value) =>
    value == null ? "" : value < 1e-3 ? `${trim(value * 1e6)} µs` : value < 1 ? `${trim(value * 1e3)} ms` : `${trim(value)} s`;
  const count = (value) => (value == null ? "" : Math.round(value).toLocaleString("en"));
  const short = (value) =>
    value == null ? "" : value >= 1e6 ? `${trim(value / 1e6)}M` : value >= 1e3 ? `${trim(value / 1e3)}k` : count(value);
  const at = (value) => (value == null ? "" : `${trim(value)} s`);
  const nines = (value) => (value == null ? "" : `${+(100 - 100 * 10 ** -value).toFixed(Math.max(0, Math.ceil(value) - 1))} %`);

  // 1, 2 and 5 times each power of ten between two values; the powers alone where those are many.
  const round = (least, most) => {
    const found = [];
    const many = Math.log10(most / least) > 3;
    for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++)
      for (const digit of many ? [1] : [1, 2, 5]) {
        const value = digit * 10 ** power;
        if (value >= least * 0.999 && value <= most * 1.001) found.push(value);
      }
    return found;
  };

  const axis = (format, more = {}) => ({
    stroke: () => colour("soft"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { stroke: () => colour("grid"), width: 1 },
    values: (_, splits) => splits.map((value) => (value == null ? "" : format(value))), ...more,
  });
  const series = (label, name, format, more = {}) => ({
    label, stroke: () => colour(name), width: 1.5, points: { show: false }, value: (_, value) => format(value), ...more,
  });
  const logarithmic = (splits) => ({ splits: (_u, _a, least, most) => splits(least, most) });

  const time = data.intervals.ended_s;
  const stepped = uPlot.paths.stepped({ align: -1 });
  const overTime = { cursor: { sync: { key: "time" } }, x: { time: false }, xAxis: axis(at), xSeries: { label: "time", value: (_, value) => at(value) } };
  const positive = (values) => values.map((value) => (value > 0 ? value : null));
  // The first step needs a beginning: it is drawn from 0 on.
  const first = (values) => [values[0], ...values];

  const plots = {
    rate: () => ({
      options: {
        cursor: overTime.cursor, scales: { x: overTime.x, y: { range: (_u, _least, most) => [0, (most || 1) * 1.08] } },
        axes: [overTime.xAxis, axis(short)],
        series: [
          overTime.xSeries,
          series("replies/s", "one", count, { paths: stepped, fill: () => colour("fill") }),
          ...(data.has_errors ? [series("errors/s", "bad", count, { paths: stepped })] : []),
        ],
      },
      values: [[0, ...time], first(data.intervals.replies_per_s), ...(data.has_errors ? [first(data.intervals.errors_per_s)] : [])],
    }),
    latency: () => ({
      options: {
        cursor: overTime.cursor, scales: { x: overTime.x, y: { distr: 3 } },
        axes: [overTime.xAxis, axis(seconds, logarithmic(round))],
        series: [
          overTime.xSeries,
          series("p50", "one", seconds, { paths: stepped }),
          series("p99", "two", seconds, { paths: stepped }),
          series("max", "bad", seconds, { paths: stepped, dash: [4, 3] }),
        ],
      },
      values: [[0, ...time], ...["p50_s", "p99_s", "max_s"].map((name) => first(positive(data.intervals[name])))],
    }),
    histogram: () => {
      const [low, high] = [data.bins.at_s[0], data.bins.at_s[data.bins.at_s.length - 1]].map(Math.log10);
      const half = (high - low) / Math.max(1, data.bins.at_s.length - 1) / 2 || 0.02;
      return {
        options: {
          scales: { x: { time: false, range: [low - half, high + half] }, y: { range: (_u, _least, most) => [0, (most || 1) * 1.08] } },
          axes: [
            axis((value) => seconds(10 ** value), { splits: (_u, _a, least, most) => round(10 ** least, 10 ** most).map(Math.log10) }),
            axis(short),
          ],
          series: [
            { label: "latency", value: (_, value) => (value == null ? "" : seconds(10 ** value)) },
            series("replies", "one", count, { paths: uPlot.paths.bars({ size: [0.9, 60] }), fill: () => colour("one"), width: 0 }),
          ],
        },
        values: [data.bins.at_s.map(Math.log10), data.bins.count],
      };
    },
    percentiles: () => ({
      options: {
        scales: { x: { time: false }, y: { distr: 3 } },
        axes: [axis((value) => nines(value).replace(" %", ""), { splits: (_u, _a, _least, most) => [0, 1, 2, 3, 4, 5, 6, 7].filter((value) => value <= most + 0.01) }), axis(seconds, logarithmic(round))],
        series: [
          { label: "percentile", value: (_, value) => nines(value) },
          ...data.curves.map((curve, number) => series(curve.label, number ? "two" : "one", seconds)),
        ],
      },
      // Curves have each their own points: joined, with gaps that are passed over.
      values: uPlot.join(data.curves.map((curve) => [curve.nines, positive(curve.seconds)])),
      spanned: true,
    }),
  };

  const drawn = [];
  for (const [name, make] of Object.entries(plots)) {
    const place = document.getElementById(name);
    if (!place) continue;
    const { options, values, spanned } = make();
    if (spanned) options.series.forEach((each) => { each.spanGaps = true; });
    options.axes[1].size = 64;
    const size = () => ({ width: place.clientWidth, height: Math.max(220, Math.min(320, place.clientWidth * 0.36)) });
    const plot = new uPlot({ ...size(), ...options, legend: { live: true } }, values, place);
    new ResizeObserver(() => plot.setSize(size())).observe(place);
    drawn.push(plot);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((plot) => plot.redraw(false)));
})();
