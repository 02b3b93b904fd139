"use strict";
const NAMES = ["", "informational", "low", "medium", "high", "critical"];
const rows = JSON.parse(document.getElementById("rows").textContent);
const facts = JSON.parse(document.getElementById("facts").textContent);
const $ = (id) => document.getElementById(id);
const state = { level: 0, rule: null, host: null, tactic: null, text: "", from: null, to: null, sort: "t", down: false, limit: 200 };
const el = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const time = (ms) => new Date(ms).toISOString().replace("T", " ").replace(/\.000Z$/, "Z");
for (const row of rows) row.all = [row.r, row.h, row.u, row.s, row.i, (row.f || []).flat().join(" "), row.a.flat().join(" ")].join(" ").toLowerCase();

const fits = (row) => (!state.level || row.l === state.level) && (!state.rule || row.r === state.rule) && (!state.host || row.h === state.host)
  && (!state.tactic || row.a.some((a) => a[2] === state.tactic)) && (state.from === null || (row.t >= state.from && row.t < state.to))
  && (!state.text || state.text.split(/\s+/).every((word) => row.all.includes(word)));

function bars(id, key, names) {
  const counts = new Map();
  for (const row of rows) for (const name of names(row)) if (name) counts.set(name, (counts.get(name) || 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const most = sorted.length ? sorted[0][1] : 1;
  const box = $(id);
  for (const [name, count] of sorted.slice(0, 12)) {
    const bar = el("i"); bar.style.width = Math.max(2, 100 * count / most) + "%";
    const button = el("button", { type: "button", title: name }, el("span", {}, name), String(count), bar);
    button.onclick = () => { state[key] = state[key] === name ? null : name; show(); };
    box.append(button);
  }
  if (sorted.length > 12) box.append(el("div", { class: "soft" }, `and ${sorted.length - 12} more`));
  if (!sorted.length) box.append(el("div", { class: "soft" }, "none"));
}

function levels() {
  for (let level = 5; level >= 1; level--) {
    const count = rows.filter((row) => row.l === level).length;
    const button = el("button", { type: "button", class: "c" + level, "aria-pressed": "false" }, el("b", {}, String(count)), NAMES[level]);
    button.onclick = () => { state.level = state.level === level ? 0 : level; show(); };
    button.dataset.level = level;
    $("levels").append(button);
  }
}

function timeline() {
  if (!rows.length) { $("timeline").append("no findings"); return; }
  const first = rows.reduce((least, row) => Math.min(least, row.t), Infinity), last = rows.reduce((most, row) => Math.max(most, row.t), -Infinity);
  const count = 120, width = Math.max(1, (last - first + 1) / count);
  const buckets = Array.from({ length: count }, () => [0, 0, 0, 0, 0, 0]);
  for (const row of rows) buckets[Math.min(count - 1, Math.floor((row.t - first) / width))][row.l]++;
  const most = Math.max(...buckets.map((bucket) => bucket.reduce((a, b) => a + b)));
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${count * 8} 100`); svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img"); svg.setAttribute("aria-label", `Findings from ${time(first)} to ${time(last)}`);
  buckets.forEach((bucket, at) => {
    let top = 100;
    for (let level = 5; level >= 1; level--) {
      const height = Math.sqrt(bucket.reduce((a, b) => a + b) / most) * 96 * bucket[level] / Math.max(1, bucket.reduce((a, b) => a + b));
      if (!height) continue;
      top -= height;
      const bar = document.createElementNS(space, "rect");
      for (const [name, value] of [["x", at * 8], ["y", top], ["width", 7], ["height", height], ["fill", `var(--l${level})`]]) bar.setAttribute(name, value);
      const title = document.createElementNS(space, "title");
      title.textContent = `${time(first + at * width)}: ${bucket[level]} ${NAMES[level]}`;
      bar.append(title); bar.style.cursor = "pointer";
      bar.onclick = () => { state.from = first + at * width; state.to = state.from + width; show(); };
      svg.append(bar);
    }
  });
  $("timeline").append(svg, el("div", { class: "soft" }, `${time(first)} to ${time(last)}`));
}

function detail(row) {
  const list = el("dl");
  const put = (name, value) => { if (value !== "" && value != null) list.append(el("dt", {}, name), el("dd", {}, String(value))); };
  for (const [name, value] of row.f || []) put(name, value);
  put("rule id", row.i); put("rule author", row.c); put("user", row.u); put("source", row.s); put("record", row.n);
  if (row.e > 1) put("records counted", row.e);
  const cell = el("td", { colspan: "6" }, list);
  for (const [uid, name, tactic] of row.a) cell.append(el("span", { class: "chip" }, [uid, name, tactic].filter(Boolean).join(" · ")));
  return el("tr", {}, cell);
}

function show() {
  const found = rows.filter(fits), key = state.sort, sign = state.down ? -1 : 1;
  found.sort((a, b) => sign * (a[key] < b[key] ? -1 : a[key] > b[key] ? 1 : 0) || a.t - b.t);
  const body = $("body"); body.replaceChildren();
  for (const row of found.slice(0, state.limit)) {
    const line = el("tr", { class: "row", tabindex: "0", "aria-expanded": "false" },
      el("td", { class: "time" }, time(row.t)), el("td", {}, el("span", { class: "badge c" + row.l }, NAMES[row.l])),
      el("td", { class: "rule" }, row.r), el("td", {}, row.h), el("td", {}, row.u), el("td", { class: "where", title: row.s }, `${row.s.split(/[\/!]/).pop()} #${row.n}`));
    const open = () => {
      const opened = line.getAttribute("aria-expanded") === "true";
      if (opened) line.nextSibling.remove(); else line.after(detail(row));
      line.setAttribute("aria-expanded", String(!opened));
    };
    line.onclick = open;
    line.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); } };
    body.append(line);
  }
  $("more").hidden = found.length <= state.limit;
  const filters = [state.level && NAMES[state.level], state.rule, state.host, state.tactic, state.from !== null && `from ${time(state.from)}`].filter(Boolean);
  $("shown").textContent = `${found.length} of ${rows.length} findings` + (filters.length ? ` · ${filters.join(" · ")}` : "");
  for (const button of document.querySelectorAll("#levels button")) button.setAttribute("aria-pressed", String(Number(button.dataset.level) === state.level));
}

for (const [key, name] of [["t", "Time"], ["l", "Level"], ["r", "Rule"], ["h", "Host"], ["u", "User"], ["s", "Where"]]) {
  const button = el("button", { type: "button" }, name);
  button.onclick = () => { state.down = state.sort === key ? !state.down : key === "l"; state.sort = key; show(); };
  $("heads").append(el("th", { scope: "col" }, button));
}
$("find").oninput = (event) => { state.text = event.target.value.trim().toLowerCase(); show(); };
$("clear").onclick = () => { Object.assign(state, { level: 0, rule: null, host: null, tactic: null, text: "", from: null, to: null }); $("find").value = ""; show(); };
$("more").onclick = () => { state.limit += 1000; show(); };
$("about").textContent = `${facts.findings} findings in ${facts.events} events · ${facts.problems} problems, ${facts.unreadable} inputs unreadable or cut short · made ${facts.made_at} by Reeve ${facts.version}`
  + (facts.not_shown ? ` · ${facts.not_shown} further findings are counted, not listed` : "");
$("seen").append(...facts.seen.map(([name, events, rules]) => el("div", {}, `${name}: ${events} events, ${rules} rules look at them`)));
levels(); timeline(); bars("rules", "rule", (row) => [row.r]); bars("hosts", "host", (row) => [row.h]); bars("tactics", "tactic", (row) => [...new Set(row.a.map((a) => a[2]))]); show();
