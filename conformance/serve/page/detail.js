// The selected message: where it went, what is wrong with it, its headers, and its body made readable.

import { $, ask, attempt, clock, copy, h, nameOf, size } from "./dom.js";
import { known, on, tell } from "./store.js";

const panel = $("message");
const LONG = 160;

let run = null; // { row, seqs, place }
let wanted = 0;

// -- bodies

function string(value) {
  const text = JSON.stringify(value);
  if (text.length <= LONG) return h("span", { class: "string" }, text);
  const whole = h("span", { class: "string" }, `${text.slice(0, 72)}…`);
  return h("span", {}, whole, h("button", {
    type: "button", class: "more", title: "All of it",
    onclick: (event) => { whole.textContent = text; event.target.remove(); },
  }, `${value.length.toLocaleString("en")} characters`));
}

function json(value, depth = 0) {
  if (typeof value === "string") return [string(value)];
  if (value === null || typeof value !== "object") return [h("span", { class: "atom" }, String(value))];
  const list = Array.isArray(value);
  const entries = Object.entries(value);
  if (!entries.length) return [list ? "[]" : "{}"];
  const inner = "  ".repeat(depth + 1);
  const parts = entries.map(([key, each], place) => [
    `\n${inner}`,
    list ? null : h("span", { class: "key" }, JSON.stringify(key)),
    list ? null : ": ",
    ...json(each, depth + 1),
    place < entries.length - 1 ? "," : "",
  ]);
  return [list ? "[" : "{", ...parts.flat(), `\n${"  ".repeat(depth)}`, list ? "]" : "}"];
}

function xml(text) {
  const parsed = new DOMParser().parseFromString(text, "text/xml");
  if (parsed.querySelector("parsererror")) return null;
  const lines = [];
  const walk = (node, depth) => {
    const indent = "  ".repeat(depth);
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.data.trim()) lines.push([indent, node.data.trim(), "\n"]);
      return;
    }
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    const given = [...node.attributes].map((each) => [" ", h("span", { class: "key" }, each.name), "=", h("span", { class: "string" }, `"${each.value}"`)]);
    const tag = h("span", { class: "tag" }, node.nodeName);
    if (!node.childNodes.length) lines.push([indent, "<", tag, ...given.flat(), "/>\n"]);
    else {
      lines.push([indent, "<", tag, ...given.flat(), ">\n"]);
      node.childNodes.forEach((child) => walk(child, depth + 1));
      lines.push([indent, "</", tag.cloneNode(true), ">\n"]);
    }
  };
  walk(parsed.documentElement, 0);
  return lines.flat();
}

const pairs = (list) => h("table", {}, h("tbody", {}, list.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));

function isForm(message) {
  const kind = (message.meta.headers ?? []).find(([name]) => name.toLowerCase() === "content-type");
  return kind !== undefined && kind[1].startsWith("application/x-www-form-urlencoded");
}

function body(message) {
  if (!message.body) return null;
  if (isForm(message)) return pairs([...new URLSearchParams(message.body)]);
  try {
    return h("pre", { tabindex: 0 }, json(JSON.parse(message.body)));
  } catch {
    const made = message.body.trimStart().startsWith("<") ? xml(message.body) : null;
    return h("pre", { tabindex: 0 }, made ?? message.body);
  }
}

// -- the pane

function about(message) {
  const { meta } = message;
  const told = [["Time", `${clock(message.at)} s`], ["Channel", message.channel], ["Connection", message.connection]];
  if (meta.method || meta.url) told.push([meta.method ?? "URL", meta.url]);
  if (meta.status) told.push(["Status", String(meta.status)]);
  if (meta.code) told.push(["Close", `${meta.code} ${meta.reason ?? ""} (by ${nameOf(meta.initiator ?? "?")})`]);
  for (const [name, value] of Object.entries(meta)) {
    if (!["method", "url", "headers", "params", "status", "code", "reason", "initiator", "subprotocols"].includes(name)) {
      told.push([name, typeof value === "object" ? JSON.stringify(value) : String(value)]);
    }
  }
  if (meta.subprotocols?.length) told.push(["Subprotocols", meta.subprotocols.join(", ")]);
  return h("dl", { class: "about" }, told.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function steps() {
  if (run.seqs.length < 2) return null;
  return h("div", { class: "steps" },
    h("button", { type: "button", "aria-label": "The message before, in this run", disabled: run.place === 0, onclick: () => step(-1) }, "‹"),
    h("span", {}, `${(run.place + 1).toLocaleString("en")} of ${run.seqs.length.toLocaleString("en")} in this run`),
    h("button", { type: "button", "aria-label": "The next message in this run", disabled: run.place === run.seqs.length - 1, onclick: () => step(1) }, "›"));
}

function show(message) {
  const headers = message.meta.headers ?? [];
  const made = body(message);
  const bytes = new TextEncoder().encode(message.body).length;
  panel.replaceChildren(h("div", {},
    h("header", {},
      h("p", { class: "way" }, nameOf(message.source), h("i", { "aria-label": "to" }, "→"), nameOf(message.target), h("span", {}, `#${message.seq}`)),
      h("h2", {}, message.kind),
      steps()),
    message.invalid ? h("p", { class: "invalid", role: "note" }, h("b", {}, "Breaks the vendor’s schema"), message.invalid) : null,
    about(message),
    headers.length ? h("details", {}, h("summary", {}, `Headers (${headers.length})`), pairs(headers)) : null,
    made === null ? null : h("div", { class: "content" },
      h("h3", {}, "Body", h("small", {}, size(bytes)), h("button", { type: "button", class: "quiet", onclick: () => copy(message.body, "The body") }, "Copy")),
      made)));
  panel.scrollTop = 0;
}

async function load() {
  const mine = (wanted += 1);
  const message = await attempt(() => ask("GET", `/wire/${run.seqs[run.place]}`));
  if (message !== undefined && mine === wanted) show(message);
}

function step(by) {
  if (run === null || run.seqs.length < 2) return;
  run.place = Math.max(0, Math.min(run.seqs.length - 1, run.place + by));
  load();
}

on("picked", async ({ row, seq }) => {
  if (!row) {
    run = null;
    wanted += 1;
    panel.replaceChildren(h("p", { class: "none" }, "Select a message in the ladder: ", h("kbd", {}, "↑"), " ", h("kbd", {}, "↓")));
    return;
  }
  const mine = (wanted += 1);
  let seqs = [row.seq];
  if (row.count > 1) {
    const told = await attempt(() => ask("GET", `/rows/${row.number}?fold=${known.fold}`));
    if (told === undefined || mine !== wanted) return;
    seqs = told.seqs;
  }
  run = { row, seqs, place: seq === null ? 0 : Math.max(0, seqs.indexOf(seq)) };
  tell("tab", "message");
  await load();
});

addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "[") step(-1);
  else if (event.key === "]") step(1);
});
