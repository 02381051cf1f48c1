// The left column: where the gateway is, the calls, the environment of a gateway, and the vendors.

import { $, ask, attempt, clock, copy, h, toast } from "./dom.js";
import { known, on, select, tell } from "./store.js";

const webhook = $("webhook");
const status = $("status-callback");
const fields = [webhook, status];
const dirty = new Set();

// -- the gateway

for (const input of fields) input.addEventListener("input", () => dirty.add(input));

on("state", (state) => {
  const values = [state.gateway.webhook, state.gateway.status_callback];
  fields.forEach((input, place) => {
    if (!dirty.has(input) && document.activeElement !== input) input.value = values[place];
  });
  if (document.activeElement !== $("answering")) $("answering").value = state.answering.behaviour;
});

async function save() {
  const saved = await ask("PUT", "/gateway", { webhook: webhook.value.trim(), status_callback: status.value.trim() });
  dirty.clear();
  environment();
  return saved;
}

/** Place a call to the webhook that is written in the form. */
export async function place() {
  if (!$("gateway").reportValidity()) return;
  const call = await attempt(async () => {
    await save();
    return ask("POST", "/calls", { from: $("from").value });
  });
  if (call === undefined) return;
  known.calls.set(call.sid, call);
  select(call.sid);
  if (matchMedia("(max-width: 860px)").matches) document.querySelector('.views [data-view="call"]').click();
}

$("gateway").addEventListener("submit", (event) => {
  event.preventDefault();
  place();
});
$("save").addEventListener("click", async () => {
  if ($("gateway").reportValidity() && (await attempt(save))) toast("Calls go there from now on");
});
$("answering").addEventListener("change", (event) => attempt(() => ask("PUT", "/answering", { behaviour: event.target.value })));

// -- calls

const items = new Map();

function item(call) {
  const made = h("button", { type: "button", onclick: () => select(call.sid) },
    h("i", {}), h("span", { class: "who" }), h("span", { class: "state" }), h("span", { class: "long" }));
  const entry = h("li", {}, made);
  items.set(call.sid, entry);
  $("calls").prepend(entry);
  return entry;
}

function describe(call) {
  const entry = items.get(call.sid) ?? item(call);
  const made = entry.firstChild;
  const [dot, who, state, long] = made.children;
  const inbound = call.direction === "inbound";
  dot.className = call.ended_at !== null ? "over" : call.ringing ? "rings" : "up";
  who.textContent = inbound ? `${call.from} →` : `→ ${call.to}`;
  made.title = `${call.name}: ${call.from} calls ${call.to}`;
  state.textContent = call.ringing ? "rings" : call.status;
  const until = call.ended_at ?? null;
  const lasted = until === null ? (known.levels.get(call.sid)?.duration ?? 0) / 1000 : until - call.answered_at;
  long.textContent = call.answered_at === null ? "" : `${clock(lasted, 0)}${lasted < 60 ? " s" : ""}`;
  made.setAttribute("aria-current", String(call.sid === known.call));
}

function list() {
  for (const sid of items.keys()) {
    if (!known.calls.has(sid)) {
      items.get(sid).remove();
      items.delete(sid);
    }
  }
  for (const call of known.calls.values()) describe(call);
  $("no-calls").hidden = known.calls.size > 0;
}

on("calls", list);
on("selected", list);
on("reset", list);
on("sound", (pieces) => pieces.forEach(({ sid }) => known.calls.has(sid) && describe(known.calls.get(sid))));

// -- environment and vendors

async function environment() {
  const asked = `vendor=${$("env-vendor").value}&gateway=${$("env-gateway").value}&format=shell`;
  await attempt(async () => {
    $("env").textContent = (await (await fetch(`/environment?${asked}`)).text()).trimEnd();
  });
}

$("env-vendor").addEventListener("change", environment);
$("env-gateway").addEventListener("change", environment);
$("env-copy").addEventListener("click", () => copy(`${$("env").textContent}\n`, "The environment"));

function vendor(about) {
  const values = [{ name: "Address", value: about.address }, ...about.values];
  return h("div", { class: "vendor" },
    h("h3", {}, h("i", { "data-party": about.name }), about.title),
    h("dl", {}, values.map(({ name, value }) => [
      h("dt", {}, name),
      h("dd", {}, h("button", {
        type: "button", class: "value", title: `Copy: ${value}`, "aria-label": `Copy ${about.title} ${name}`,
        onclick: () => copy(value, name),
      }, value)),
    ])));
}

export async function loadSetup() {
  const told = await attempt(() => ask("GET", "/vendors"));
  if (told === undefined) return;
  known.vendors = told;
  $("vendors").append(...told.vendors.map(vendor));
  tell("vendors");
  await environment();
}
