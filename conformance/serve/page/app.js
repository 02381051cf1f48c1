// The entry: brings the parts together, and what concerns all of them: keys, views, theme.

import { $, ask, attempt, toast } from "./dom.js";
import "./detail.js";
import "./call.js";
import { newest, nextInvalid } from "./ladder.js";
import { loadSetup, place } from "./setup.js";
import "./switches.js";
import { connect, known, on } from "./store.js";

// -- connection

const words = { live: "live", lost: "connection lost, trying again", connecting: "connecting" };

on("live", (state) => {
  const live = $("live");
  live.dataset.state = state;
  live.querySelector("span").textContent = words[state];
});

function count() {
  let messages = 0;
  let invalid = 0;
  for (const row of known.rows) {
    messages += row.count;
    if (row.invalid) invalid += 1;
  }
  const about = known.vendors === null ? "" : `as of ${known.vendors.as_of} · `;
  $("facts").textContent = `${about}${messages.toLocaleString("en")} messages`;
  if (invalid) {
    const told = document.createElement("b");
    told.textContent = ` · ${invalid.toLocaleString("en")} invalid`;
    $("facts").append(told);
  }
}

let counting = 0;
const soon = () => {
  if (!counting) counting = setTimeout(() => { counting = 0; count(); }, 250);
};
on("rows", soon);
on("reset", soon);
on("vendors", soon);

// -- views of a narrow window

export function show(view) {
  document.body.dataset.view = view;
  for (const button of document.querySelectorAll(".views button")) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}

for (const button of document.querySelectorAll(".views button")) button.addEventListener("click", () => show(button.dataset.view));
show(document.body.dataset.view);
on("opened", () => show("inspect"));
on("picked", ({ row }) => {
  if (row && matchMedia("(max-width: 860px)").matches) show("inspect");
});

// -- theme

const themes = ["", "light", "dark"];

function dress(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  document.querySelector("meta[name=color-scheme]").content = theme || "light dark";
  $("theme").title = { "": "As the system has it", light: "Light", dark: "Dark" }[theme];
  dispatchEvent(new Event("themed"));
}

dress(localStorage.getItem("callproof.theme") ?? "");
$("theme").addEventListener("click", () => {
  const next = themes[(themes.indexOf(localStorage.getItem("callproof.theme") ?? "") + 1) % themes.length];
  localStorage.setItem("callproof.theme", next);
  dress(next);
  toast({ "": "Colours as the system has them", light: "Light", dark: "Dark" }[next]);
});

// -- buttons of the bar, keys

$("clear").addEventListener("click", () => attempt(() => ask("DELETE", "/wire")));
$("help-button").addEventListener("click", () => $("help").showModal());

const writes = (target) => target.closest?.("input, select, textarea") !== null;

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (writes(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const acts = {
    "/": () => {
      if (document.body.dataset.view !== "wire") show("wire");
      $("search").focus();
    },
    "?": () => $("help").showModal(),
    c: place,
    s: () => $("say")?.focus(),
    n: nextInvalid,
    f: newest,
  };
  if (event.key in acts) {
    event.preventDefault();
    acts[event.key]();
  }
});

loadSetup();
connect();
