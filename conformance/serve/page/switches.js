// The right pane's tabs, and the switches in two of them: faults and knobs.

import { $, ask, attempt, h } from "./dom.js";
import { known, on } from "./store.js";

// -- tabs

const tabs = [...document.querySelectorAll("[role=tab]")];

function open(name, focus = false) {
  for (const tab of tabs) {
    const mine = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !mine;
    if (mine && focus) tab.focus();
  }
}

tabs.forEach((tab, place) => {
  const name = tab.id.slice(4);
  tab.addEventListener("click", () => open(name));
  tab.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) open(tabs[(place + by + tabs.length) % tabs.length].id.slice(4), true);
  });
});
on("tab", (name) => open(name));

function badge(id, number) {
  $(id).hidden = !number;
  $(id).textContent = String(number);
}

const TITLES = { openai: "OpenAI", azure: "Azure OpenAI", twilio: "Twilio" };

// -- faults

const rows = new Map();

function fault(about) {
  const armed = h("select", { "aria-label": `${about.name}: ${about.behaviour}`, onchange: (event) => attempt(() => ask("PUT", `/faults/${about.name}`, { armed: event.target.value })) },
    h("option", { value: "off" }, "off"), h("option", { value: "next" }, "next time"), h("option", { value: "always" }, "always"));
  const count = h("small", {});
  const made = h("li", {}, h("div", {}, h("code", {}, about.name.split(".")[1]), count, h("p", {}, about.behaviour)), armed);
  rows.set(about.name, { made, armed, count });
  return made;
}

function faults(list) {
  if (!rows.size) {
    const vendors = [...new Set(list.map((about) => about.vendor))];
    $("faults").replaceChildren(
      h("p", { class: "hint" }, "A fault happens the next time there is an occasion, or every time. It counts for what begins from now on; what can be broken in a call that is up is in the call’s own menu."),
      h("p", { class: "row" }, h("button", { type: "button", onclick: () => attempt(() => ask("DELETE", "/faults")) }, "All off")),
      ...vendors.flatMap((vendor) => [
        h("h3", {}, TITLES[vendor]),
        h("ul", { class: "switches" }, list.filter((about) => about.vendor === vendor).map(fault)),
      ]));
  }
  for (const about of list) {
    const { made, armed, count } = rows.get(about.name);
    armed.value = about.armed;
    made.classList.toggle("on", about.armed !== "off");
    count.textContent = about.happened ? `happened ${about.happened}×` : "";
  }
  badge("faults-on", list.filter((about) => about.armed !== "off").length);
}

on("state", (state) => faults(state.faults));

// -- knobs

const EVIDENCE = {
  S: "source code", D: "documentation", O: "observed", C: "capture", I: "issue report", K: "background knowledge", U: "uncertain", "?": "contested",
};

const knobs = new Map();

function control(name, about, turn) {
  const named = { "aria-label": `${name}: ${about.behaviour}` };
  if (typeof about.default === "boolean") {
    const made = h("input", { ...named, type: "checkbox", role: "switch", onchange: (event) => turn(event.target.checked) });
    return { made, set: (value) => (made.checked = value) };
  }
  if (about.options) {
    const made = h("select", { ...named, onchange: (event) => turn(event.target.value) }, about.options.map((option) => h("option", { value: option }, String(option))));
    return { made, set: (value) => (made.value = value) };
  }
  const number = typeof about.default === "number";
  const made = h("input", {
    ...named, type: number ? "number" : "text", onchange: (event) => turn(number ? event.target.valueAsNumber : event.target.value),
    ...(about.low === undefined ? {} : { min: about.low, max: about.high }),
  });
  return { made, set: (value) => { if (document.activeElement !== made) made.value = value; } };
}

function knob(name, about) {
  const turn = async (value) => {
    const told = await attempt(() => ask("PUT", `/knobs/${name}`, { value }));
    if (told === undefined) set(known.state.knobs[name] ?? about.default);
  };
  const { made: input, set } = control(name, about, turn);
  const back = h("button", { type: "button", class: "quiet back", title: `Back to ${about.default}`, "aria-label": `${name} back to ${about.default}`, onclick: () => turn(about.default) }, "↺");
  const made = h("li", {},
    h("div", {}, h("code", {}, name.slice(name.indexOf(".") + 1)), back,
      h("p", {}, about.behaviour),
      h("p", { class: "evidence" }, h("b", { title: EVIDENCE[about.evidence] ?? "" }, EVIDENCE[about.evidence] ?? about.evidence), ` ${about.source}`)),
    input);
  made.dataset.text = `${name} ${about.behaviour}`.toLowerCase();
  knobs.set(name, { made, set, about });
  set(about.value);
  return made;
}

function turned() {
  const { knobs: changed } = known.state;
  for (const [name, { made, set, about }] of knobs) {
    set(changed[name] ?? about.default);
    made.classList.toggle("on", name in changed);
  }
  badge("knobs-on", Object.keys(changed).length);
}

async function load() {
  const told = await attempt(() => ask("GET", "/knobs"));
  if (told === undefined) return;
  const filter = h("input", {
    type: "search", placeholder: "Find a knob", "aria-label": "Find a knob",
    oninput: (event) => {
      const text = event.target.value.trim().toLowerCase();
      for (const { made } of knobs.values()) made.hidden = Boolean(text) && !made.dataset.text.includes(text);
    },
  });
  $("knobs").replaceChildren(
    h("p", { class: "hint" }, "What public evidence leaves open about a vendor is a knob. It holds from now on."),
    h("p", { class: "row" }, filter),
    ...Object.keys(TITLES).flatMap((vendor) => {
      const mine = Object.entries(told).filter(([name]) => name.startsWith(`${vendor}.`));
      return [h("h3", {}, TITLES[vendor], h("small", {}, String(mine.length))), h("ul", { class: "switches" }, mine.map(([name, about]) => knob(name, about)))];
    }));
  turned();
}

on("state", turned);
load();
