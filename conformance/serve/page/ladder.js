// The ladder: a list of any length of which only what can be seen is in the document.

import { $, attempt, ask, clock, h, nameOf, ORDER } from "./dom.js";
import { callOf, connect, known, on, tell } from "./store.js";

const HEIGHT = 22;
const SPARE = 4;

const view = $("ladder");
const body = $("rows");
const head = $("lanes");
const filters = { party: "", channel: "", kind: "", call: "", invalid: false, text: "" };
const seen = { party: new Set(), channel: new Set(), kind: new Set(), call: new Set() };
const pool = [];

let shown = []; // numbers of the rows that pass the filters
let looked = 0; // rows that the filters have judged
let found = null; // with a search: the numbers that it has found
let searched = 0;
let picked = -1; // the number of the selected row
let parties = [];
let lanes = new Map();
let follow = true;
let asked = false;
let due = 0;
let tall = -1; // px of all rows
let room = 0; // px in which rows can be seen
let counted = [];

// -- what is shown

function passes(row) {
  return (
    (!filters.party || row.source === filters.party || row.target === filters.party) &&
    (!filters.channel || row.channel === filters.channel) &&
    (!filters.kind || row.kind === filters.kind) &&
    (!filters.call || callOf(row) === filters.call) &&
    (!filters.invalid || row.invalid) &&
    (found === null || found.has(row.number))
  );
}

function judge() {
  const until = found === null ? known.rows.length : Math.min(known.rows.length, searched);
  for (; looked < until; looked += 1) {
    if (passes(known.rows[looked])) shown.push(looked);
  }
}

function again() {
  shown = [];
  looked = 0;
  judge();
  paint(true);
}

function note(row) {
  let fresh = false;
  const parts = { party: [row.source, row.target], channel: [row.channel], kind: [row.kind], call: [callOf(row)] };
  for (const [what, values] of Object.entries(parts)) {
    for (const value of values) {
      if (value && !seen[what].has(value)) {
        seen[what].add(value);
        fresh = true;
      }
    }
  }
  return fresh;
}

const byPlace = (one, other) => (ORDER.indexOf(one) + 1 || 99) - (ORDER.indexOf(other) + 1 || 99);

function offer() {
  const named = { party: nameOf, channel: String, kind: String, call: String };
  for (const [what, values] of Object.entries(seen)) {
    const list = $(`by-${what}`);
    const sorted = what === "party" ? [...values].sort(byPlace) : [...values].sort(new Intl.Collator("en", { numeric: true }).compare);
    list.replaceChildren(list.options[0], ...sorted.map((value) => h("option", { value, selected: value === filters[what] }, named[what](value))));
    list.value = filters[what];
  }
  parties = [...seen.party].sort(byPlace);
  lanes = new Map(parties.map((party, place) => [party, place]));
  view.style.setProperty("--parties", String(Math.max(parties.length, 1)));
  view.dataset.parties = String(parties.length);
  head.replaceChildren(
    h("span", { class: "at" }, "s"),
    h("span", { class: "names" }, parties.map((party) => h("span", {}, nameOf(party)))),
    h("span", {}, "message"),
  );
}

// -- drawing

function line() {
  const arrow = h("i");
  const at = h("span", { class: "at" });
  const text = h("span", { class: "label" });
  const more = h("span", { class: "more" });
  const place = h("span", { class: "connection" });
  const made = h("div", { class: "line", role: "option" }, at, h("span", { class: "arrow" }, arrow), h("span", { class: "what" }, text, more), place);
  return Object.assign(made, { parts: { at, arrow, text, more, place }, number: -1, place: -1, picked: false, way: "", drawn: "" });
}

const shapes = {
  request: "http", response: "http", failure: "http", upgrade: "socket", "upgrade.accepted": "socket", "upgrade.refused": "socket", close: "socket",
};

function fill(made, number, place) {
  const row = known.rows[number];
  const key = `${number}/${row.count}/${parties.length}`;
  if (made.place !== place) {
    made.place = place;
    made.style.transform = `translateY(${place * HEIGHT}px)`;
    made.setAttribute("aria-posinset", String(place + 1));
  }
  if (made.picked !== (number === picked)) {
    made.picked = number === picked;
    made.classList.toggle("picked", made.picked);
    made.setAttribute("aria-selected", String(made.picked));
  }
  if (made.drawn === key) return;
  made.drawn = key;
  made.number = number;
  made.id = `row-${number}`;
  const { at, arrow, text, more, place: where } = made.parts;
  at.textContent = clock(row.at);
  const from = lanes.get(row.source) ?? 0;
  const to = lanes.get(row.target) ?? 0;
  const way = `${Math.min(from, to)}/${Math.abs(from - to)}/${from < to}`;
  if (made.way !== way) {
    made.way = way;
    arrow.style.setProperty("--from", String(Math.min(from, to)));
    arrow.style.setProperty("--span", String(Math.abs(from - to)));
    arrow.className = from < to ? "right" : "left";
  }
  text.textContent = row.label;
  more.textContent = row.count > 1 ? ` × ${row.count.toLocaleString("en")} · ${(row.until - row.at).toFixed(1)} s` : "";
  where.textContent = row.connection;
  const refused = row.status >= 400 || row.kind === "failure" || row.kind === "error";
  const look = row.channel === "phone" ? "phone" : (shapes[row.kind] ?? "event");
  if (made.dataset.look !== (row.count > 1 ? "run" : look)) made.dataset.look = row.count > 1 ? "run" : look;
  made.classList.toggle("invalid", Boolean(row.invalid));
  made.classList.toggle("refused", Boolean(refused));
  const why = row.invalid ? `invalid: ${row.invalid}` : "";
  if (made.title !== why) made.title = why;
  made.setAttribute("aria-label", `${clock(row.at)} s, ${nameOf(row.source)} to ${nameOf(row.target)}: ${text.textContent}${more.textContent}${row.invalid ? `, invalid: ${row.invalid}` : ""}`);
}

function draw() {
  asked = false;
  const height = shown.length * HEIGHT;
  if (height !== tall) {
    tall = height;
    body.style.height = `${height}px`;
  }
  const none = known.rows.length === 0;
  if ($("no-rows").hidden === none) $("no-rows").hidden = !none;
  if ($("no-match").hidden === (!none && !height)) $("no-match").hidden = none || height > 0;
  if (follow) view.scrollTop = height;
  const top = view.scrollTop;
  const first = Math.max(0, Math.floor(top / HEIGHT) - SPARE);
  const last = Math.min(shown.length, Math.ceil((top + room) / HEIGHT) + SPARE);
  while (pool.length < last - first) {
    const made = line();
    pool.push(made);
    body.append(made);
  }
  // A row keeps its element while it can be seen: place modulo the size of the pool.
  const used = new Set();
  for (let place = first; place < last; place += 1) {
    const made = pool[place % pool.length];
    used.add(made);
    if (made.hidden) made.hidden = false;
    fill(made, shown[place], place);
  }
  for (const made of pool) if (!made.hidden && !used.has(made)) made.hidden = true;
  const away = !follow && shown.length > 0;
  if ($("tail").hidden === away) $("tail").hidden = !away;
  tally();
  const place = picked < 0 ? -1 : find(picked);
  if (place >= first && place < last) view.setAttribute("aria-activedescendant", `row-${picked}`);
  else view.removeAttribute("aria-activedescendant");
}

function tally() {
  const total = known.rows.length;
  if (total === counted[0] && shown.length === counted[1]) return;
  counted = [total, shown.length];
  const some = shown.length.toLocaleString("en");
  $("shown").textContent = shown.length === total ? `${some} rows` : `${some} of ${total.toLocaleString("en")} rows`;
}

function paint(afresh = false) {
  if (afresh) for (const made of pool) made.drawn = "";
  if (asked) return;
  asked = true;
  requestAnimationFrame(draw);
}

// -- moving about

/** The place of a row among those that are shown, -1 for one that is not. */
function find(number) {
  let low = 0;
  let high = shown.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (shown[middle] === number) return middle;
    if (shown[middle] < number) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

function reveal(place) {
  const top = place * HEIGHT;
  const away = top < view.scrollTop - room || top > view.scrollTop + 2 * room;
  if (away) view.scrollTop = top - room / 2;
  else if (top < view.scrollTop) view.scrollTop = top;
  else if (top + HEIGHT > view.scrollTop + room) view.scrollTop = top + HEIGHT - room;
}

export function pick(number, seq = null) {
  picked = number;
  const place = find(number);
  if (place >= 0) {
    follow = false;
    reveal(place);
  }
  paint();
  tell("picked", { row: known.rows[number], seq });
}

/** Show the row that has a message, also when it is one of a run. */
export function pickSeq(seq) {
  let best = -1;
  for (const row of known.rows) {
    if (row.seq > seq) break;
    best = row.number;
  }
  if (best < 0) return;
  if (find(best) < 0) clearFilters();
  pick(best, seq);
}

function step(by) {
  if (!shown.length) return;
  const place = find(picked);
  const next = place < 0 ? (by > 0 ? 0 : shown.length - 1) : Math.max(0, Math.min(shown.length - 1, place + by));
  pick(shown[next]);
}

export function nextInvalid() {
  const bad = shown.filter((number) => known.rows[number].invalid);
  if (bad.length) pick(bad.find((number) => number > picked) ?? bad[0]);
}

export function newest() {
  follow = true;
  paint();
}

view.addEventListener("scroll", () => {
  const bottom = view.scrollTop + room >= tall - HEIGHT * 1.5;
  // Scrolling up stops following; coming down to the end follows again.
  follow = bottom && !(picked >= 0 && find(picked) >= 0 && find(picked) < shown.length - 1 && !follow);
  paint();
}, { passive: true });

body.addEventListener("click", (event) => {
  const made = event.target.closest(".line");
  if (made) pick(made.number);
});

view.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(room / HEIGHT) - 1);
  const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity };
  if (event.key === "End") {
    if (shown.length) pick(shown[shown.length - 1]);
    newest();
  } else if (event.key in moves) step(moves[event.key]);
  else if (event.key === "Enter") tell("opened");
  else return;
  event.preventDefault();
});

new ResizeObserver(() => {
  room = view.clientHeight - head.offsetHeight;
  paint();
}).observe(view);
$("tail").addEventListener("click", () => {
  newest();
  view.focus({ preventScroll: true });
});

// -- filters

for (const what of ["party", "channel", "kind", "call"]) {
  $(`by-${what}`).addEventListener("change", (event) => {
    filters[what] = event.target.value;
    event.target.classList.toggle("set", Boolean(event.target.value));
    again();
  });
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

$("only-invalid").addEventListener("click", (event) => {
  filters.invalid = !filters.invalid;
  press(event.currentTarget, filters.invalid);
  again();
});

$("fold").addEventListener("click", (event) => {
  known.fold = !known.fold;
  press(event.currentTarget, known.fold);
  connect();
});

async function search() {
  due = 0;
  if (!filters.text) return;
  const text = filters.text;
  const since = found === null ? 0 : searched;
  const told = await attempt(() => ask("GET", `/search?q=${encodeURIComponent(text)}&fold=${known.fold}&since=${since}`));
  if (told === undefined || text !== filters.text) return;
  if (found === null) found = new Set();
  told.rows.forEach((number) => found.add(number));
  searched = told.until;
  if (since) {
    judge();
    paint();
  } else again();
}

$("search").addEventListener("input", (event) => {
  filters.text = event.target.value.trim();
  found = null;
  searched = 0;
  clearTimeout(due);
  if (filters.text) due = setTimeout(search, 120);
  else again();
});

$("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape" || event.key === "Enter") {
    if (event.key === "Escape") {
      event.target.value = "";
      event.target.dispatchEvent(new Event("input"));
    }
    view.focus();
    if (event.key === "Enter" && shown.length) pick(shown[0]);
    event.preventDefault();
  }
});

function clearFilters() {
  Object.assign(filters, { party: "", channel: "", kind: "", call: "", invalid: false, text: "" });
  for (const what of ["party", "channel", "kind", "call"]) {
    $(`by-${what}`).value = "";
    $(`by-${what}`).classList.remove("set");
  }
  $("search").value = "";
  press($("only-invalid"), false);
  found = null;
  again();
}

// -- what comes in

on("rows", (rows) => {
  let fresh = false;
  for (const row of rows) fresh = note(row) || fresh;
  if (fresh) offer();
  if (found !== null && !due) due = setTimeout(search, 300);
  judge();
  paint(fresh);
});

on("state", () => {
  let fresh = false;
  for (const row of known.rows) if (row.kind === "upgrade") fresh = note(row) || fresh;
  if (fresh) offer();
  if (filters.call) again();
});

on("reset", () => {
  shown = [];
  looked = 0;
  picked = -1;
  follow = true;
  found = filters.text ? new Set() : null;
  searched = 0;
  for (const values of Object.values(seen)) values.clear();
  parties = [];
  head.replaceChildren();
  view.dataset.parties = "0";
  paint(true);
  tell("picked", { row: null });
});
