// The selected call: what the person says and does, the sound of both directions, and what was said.

import { $, ask, attempt, clock, h } from "./dom.js";
import { pickSeq } from "./ladder.js";
import { microphone } from "./microphone.js";
import { known, on, selectedCall } from "./store.js";
import { Wave } from "./wave.js";

const panel = $("call");
const KEYS = "123456789*0#";

let phrases = {};
let shownFor = null;
let parts = null;

async function act(what, body = {}) {
  const call = selectedCall();
  if (call !== null) await attempt(() => ask("POST", `/calls/${call.sid}/${what}`, body));
}

async function disturb(how) {
  const call = selectedCall();
  const session = known.state.sessions.filter((one) => one.call === call?.name && one.closed === null).at(-1);
  if (session === undefined) return;
  await attempt(() => ask("POST", `/sessions/${session.vendor}/${session.ordinal}/disturb`, { with: how }));
}

function build(call) {
  const say = h("input", { id: "say", list: "phrases", placeholder: "What the person says", "aria-label": "What the person says", autocomplete: "off", "aria-keyshortcuts": "s" });
  const talk = h("form", {
    class: "talk",
    onsubmit: (event) => {
      event.preventDefault();
      const text = say.value.trim();
      if (!text) return;
      act("say", Object.hasOwn(phrases, text) ? { phrase: text } : { text });
      say.value = "";
    },
  }, say, h("button", { class: "primary" }, "Say"));
  const keys = h("div", { class: "keys", role: "group", "aria-label": "Keys of the phone" },
    [...KEYS].map((key) => h("button", { type: "button", "aria-label": `Key ${key}`, onclick: () => act("press", { keys: key }) }, key)));
  const mic = h("button", { type: "button", class: "toggle", "aria-pressed": "false", title: "Speak with this machine’s microphone", onclick: () => microphone(selectedCall(), mic) }, "Microphone");
  const faulty = h("select", { class: "break", "aria-label": "Break something in this call", onchange: (event) => {
    const how = event.target.value;
    event.target.value = "";
    if (how === "lose") act("lose-stream");
    else if (how) disturb(how);
  } },
  h("option", { value: "" }, "Break …"),
  h("option", { value: "lose" }, "lose the media stream"),
  h("option", { value: "close" }, "close the session (1011)"),
  h("option", { value: "reset" }, "reset the session’s connection"),
  h("option", { value: "error" }, "send the session an error"),
  h("option", { value: "fail_response" }, "fail the response"),
  h("option", { value: "filter_response" }, "cut the response off (filter)"),
  h("option", { value: "fail_transcription" }, "fail the transcription"));
  const up = h("div", { class: "up" }, talk, keys, mic, faulty, h("button", { type: "button", class: "danger", onclick: () => act("hangup") }, "Hang up"));
  const rings = h("div", { class: "up" },
    h("span", { class: "ringing" }, "The phone rings"),
    h("button", { type: "button", class: "primary", onclick: () => act("answer") }, "Answer"),
    h("button", { type: "button", onclick: () => act("reject", { as: "busy" }) }, "Busy"),
    h("button", { type: "button", class: "danger", onclick: () => act("reject", { as: "reject" }) }, "Reject"));
  const title = h("h2", {});
  const state = h("span", { class: "state" });
  const trouble = h("p", { class: "trouble", role: "status" });
  const wave = new Wave(call.sid, (seq) => pickSeq(seq));
  const said = h("ol", { class: "said", "aria-label": "What was said", tabindex: 0 });
  panel.replaceChildren(
    h("header", {}, title, state, rings, trouble),
    up,
    h("div", { class: "heard" }, wave.element, said),
  );
  parts = { title, state, trouble, up, rings, wave, said, mic, lines: "" };
  shownFor = call.sid;
}

function transcript(call) {
  const key = JSON.stringify(call.transcript);
  if (key === parts.lines) return;
  parts.lines = key;
  const bottom = parts.said.scrollTop + parts.said.clientHeight >= parts.said.scrollHeight - 8;
  parts.said.replaceChildren(...call.transcript.map((line) => {
    const going = line.end_ms === null;
    const note = going ? "…" : line.complete ? "" : " (cut off)";
    return h("li", { class: `${line.who}${going ? " going" : ""}` },
      h("button", { type: "button", title: `Play from here (${line.phrase})`, onclick: () => parts.wave.seek(line.at_ms, true) },
        h("time", {}, clock(line.at_ms / 1000, 1)),
        h("b", {}, line.who === "person" ? "said" : "heard"),
        h("span", {}, line.text, note ? h("em", {}, note) : null)));
  }));
  if (!call.transcript.length) parts.said.append(h("li", { class: "none" }, call.ended_at === null ? "Nothing was said yet." : "Nothing was said."));
  if (bottom) parts.said.scrollTop = parts.said.scrollHeight;
}

function refresh() {
  const call = selectedCall();
  if (call === null) {
    shownFor = null;
    parts?.wave.stop();
    parts = null;
    panel.replaceChildren(h("p", { class: "none" }, "No call is selected. ", h("span", {}, "Place one, or let your gateway call somebody.")));
    return;
  }
  if (call.sid !== shownFor) {
    parts?.wave.stop();
    build(call);
  }
  const { title, state, trouble, up, rings, wave } = parts;
  title.textContent = call.direction === "inbound" ? `${call.from} calls` : `Gateway calls ${call.to}`;
  title.title = `${call.name} · ${call.sid}`;
  state.textContent = call.status;
  state.dataset.over = String(call.ended_at !== null);
  up.hidden = call.ended_at !== null || call.answered_at === null;
  rings.hidden = !call.ringing;
  trouble.textContent = call.debugger.map((entry) => `Twilio ${entry}`).join(" · ");
  trouble.hidden = !call.debugger.length;
  wave.update(call);
  transcript(call);
}

on("calls", refresh);
on("selected", refresh);
on("reset", refresh);
on("sound", (pieces) => {
  if (pieces.some((piece) => piece.sid === shownFor)) parts?.wave.draw();
});

attempt(() => ask("GET", "/phrases")).then((told) => {
  phrases = told ?? {};
  document.body.append(h("datalist", { id: "phrases" }, Object.entries(phrases).map(([name, text]) => h("option", { value: text }, name))));
});
