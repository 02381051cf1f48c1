// The sound of a call: both directions drawn over time, with marks; click to seek, space to play.

import { clock, h, toast } from "./dom.js";
import { known } from "./store.js";

const CELL = 20; // ms
const HALF = 40; // px of one direction
const FOOT = 16; // px of the time axis
const BAR = 3; // px of one bar, with the gap behind it
const MARKS = { clear: "mark", truncate: "mark", cancel: "mark", speech_started: "speech", dtmf: "key" };

export class Wave {
  constructor(sid, toMessage) {
    this.sid = sid;
    this.call = null;
    this.at = 0; // ms
    this.audio = new Audio();
    this.loaded = -1; // duration of what was fetched
    this.asked = false;
    this.toMessage = toMessage;
    this.canvas = h("canvas", { height: 2 * HALF + FOOT });
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.button = h("button", { type: "button", class: "play", "aria-label": "Play", onclick: () => this.toggle() });
    this.track = h("select", { "aria-label": "Which direction to play", onchange: () => this.another() },
      h("option", { value: "both" }, "both"), h("option", { value: "person" }, "person"), h("option", { value: "gateway" }, "gateway"));
    this.time = h("output", { class: "time" });
    this.save = h("a", { class: "button quiet", download: "", title: "This call as a WAV file" }, "WAV");
    this.marks = h("div", { class: "marks" });
    const names = h("div", { class: "ways", "aria-hidden": "true" }, h("span", {}, "person"), h("span", {}, "gateway"));
    this.picture = h("div", {
      class: "picture", tabindex: 0, role: "slider", "aria-label": "Place in the call", "aria-valuemin": 0,
      onkeydown: (event) => this.key(event),
    }, this.canvas, this.marks);
    this.element = h("div", { class: "wave" }, h("div", { class: "sound" }, names, this.picture), h("div", { class: "player" }, this.button, this.time, this.track, this.save));
    this.audio.addEventListener("play", () => this.playing());
    this.audio.addEventListener("pause", () => this.draw());
    this.audio.addEventListener("ended", () => this.draw());
    this.seen = new ResizeObserver(() => this.draw());
    this.seen.observe(this.picture);
    this.themed = () => this.draw();
    addEventListener("themed", this.themed);
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.system.addEventListener("change", this.themed);
  }

  stop() {
    this.audio.pause();
    this.seen.disconnect();
    removeEventListener("themed", this.themed);
    this.system.removeEventListener("change", this.themed);
  }

  update(call) {
    this.call = call;
    this.draw();
  }

  get duration() {
    const levels = known.levels.get(this.sid);
    if (levels === undefined) return 0;
    return Math.max(levels.duration, levels.person.length * CELL, levels.gateway.length * CELL);
  }

  /** How many ms the whole width stands for: at least 20 s, in steps, so that the picture does not crawl. */
  get span() {
    const steps = [20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1200, 1800, 2700, 3600].map((s) => s * 1000);
    const live = this.call?.ended_at === null;
    if (!live) return Math.max(this.duration, 1000);
    return steps.find((step) => step >= this.duration * 1.02) ?? this.duration * 1.1;
  }

  // -- playing

  async load() {
    const levels = this.duration;
    if (this.loaded === levels) return true;
    const answer = await fetch(`/calls/${this.sid}/audio.wav?track=${this.track.value}`);
    if (!answer.ok) {
      toast((await answer.json()).error, true);
      return false;
    }
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.audio.src = URL.createObjectURL(await answer.blob());
    this.loaded = levels;
    return true;
  }

  async toggle() {
    if (!this.audio.paused) {
      this.audio.pause();
      return;
    }
    if (!(await this.load())) return;
    if (this.at >= this.duration - 50) this.at = 0;
    this.audio.currentTime = this.at / 1000;
    try {
      await this.audio.play();
    } catch (error) {
      // Whoever pauses at once has not done anything wrong.
      if (error.name !== "AbortError") toast(`The call cannot be played: ${error.message}`, true);
    }
  }

  async another() {
    const playing = !this.audio.paused;
    this.audio.pause();
    this.loaded = -1;
    if (playing) await this.toggle();
  }

  seek(ms, play = false) {
    this.at = Math.max(0, Math.min(ms, this.duration));
    if (!this.audio.paused) this.audio.currentTime = this.at / 1000;
    else if (play) this.toggle();
    this.draw();
  }

  playing() {
    const tick = () => {
      if (this.audio.paused) return;
      this.at = this.audio.currentTime * 1000;
      this.draw();
      requestAnimationFrame(tick);
    };
    tick();
  }

  point(event) {
    this.seek((event.offsetX / this.canvas.clientWidth) * this.span);
    this.picture.focus();
  }

  key(event) {
    if (event.target !== this.picture) return;
    const moves = { ArrowLeft: -500, ArrowRight: 500, PageUp: -5000, PageDown: 5000, Home: -Infinity, End: Infinity };
    if (event.key === " ") this.toggle();
    else if (event.key in moves) this.seek(this.at + moves[event.key]);
    else return;
    event.preventDefault();
  }

  // -- drawing

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.paint();
    });
  }

  paint() {
    const { canvas, span, duration } = this;
    const width = this.picture.clientWidth;
    if (!width) return;
    const scale = devicePixelRatio || 1;
    const height = 2 * HALF + FOOT;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(this.picture);
    const colour = (name) => style.getPropertyValue(name).trim();
    const draw = canvas.getContext("2d");
    draw.setTransform(scale, 0, 0, scale, 0, 0);
    draw.clearRect(0, 0, width, height);
    const x = (ms) => (ms / span) * width;
    draw.fillStyle = colour("--wave-paper");
    draw.fillRect(0, 0, x(duration), 2 * HALF);
    draw.fillStyle = colour("--line");
    draw.fillRect(0, HALF - 0.5, width, 1);
    this.axis(draw, x, width, colour);
    const levels = known.levels.get(this.sid);
    if (levels !== undefined) {
      this.bars(draw, levels.person, HALF / 2, x, width, colour("--person"));
      this.bars(draw, levels.gateway, HALF * 1.5, x, width, colour("--gateway"));
    }
    draw.fillStyle = colour("--ink");
    draw.fillRect(Math.min(width - 1.5, x(this.at)), 0, 1.5, 2 * HALF);
    this.place(x);
    const playing = !this.audio.paused;
    this.button.dataset.state = playing ? "playing" : "paused";
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.button.disabled = this.save.hidden = levels === undefined;
    this.save.href = `/calls/${this.sid}/audio.wav`;
    this.time.textContent = `${clock(this.at / 1000, 1)} / ${clock(duration / 1000, 1)}`;
    this.picture.setAttribute("aria-valuemax", String(Math.round(duration / 1000)));
    this.picture.setAttribute("aria-valuenow", String(Math.round(this.at / 1000)));
    this.picture.setAttribute("aria-valuetext", `${(this.at / 1000).toFixed(1)} seconds`);
  }

  bars(draw, levels, middle, x, width, colour) {
    draw.fillStyle = colour;
    const cells = this.span / CELL / width; // in one px
    const until = x(levels.length * CELL);
    for (let at = 0; at < until; at += BAR) {
      let loud = 0;
      const last = Math.min(levels.length - 1, Math.floor((at + BAR) * cells));
      for (let cell = Math.floor(at * cells); cell <= last; cell += 1) loud = Math.max(loud, levels[cell]);
      const tall = loud ? Math.max(2, (loud / 100) * (HALF - 4)) : 1;
      draw.fillRect(at, middle - tall / 2, loud ? BAR - 1 : BAR, tall);
    }
  }

  axis(draw, x, width, colour) {
    draw.fillStyle = colour("--soft");
    draw.font = `10.5px ${colour("--sans")}`;
    draw.textBaseline = "bottom";
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
    const step = steps.find((seconds) => x(seconds * 1000) >= 56) ?? 900;
    for (let second = 0; second * 1000 <= this.span; second += step) {
      const at = x(second * 1000);
      const text = second < 60 ? `${second} s` : clock(second, 0);
      if (at > width - 24) break;
      draw.fillRect(at, 2 * HALF, 1, 4);
      draw.fillText(text, at + 3, 2 * HALF + FOOT);
    }
  }

  place(x) {
    const wanted = (this.call?.marks ?? []).filter((mark) => mark.at_ms >= 0);
    while (this.marks.children.length > wanted.length) this.marks.lastChild.remove();
    wanted.forEach((mark, number) => {
      let made = this.marks.children[number];
      if (made === undefined) {
        made = h("button", { type: "button", tabindex: -1 });
        made.addEventListener("click", () => {
          this.seek(made.mark.at_ms);
          this.toMessage(made.mark.seq);
        });
        this.marks.append(made);
      }
      made.mark = mark;
      made.className = MARKS[mark.kind];
      made.dataset.kind = mark.kind;
      made.title = `${clock(mark.at_ms / 1000, 2)} ${mark.means}`;
      made.setAttribute("aria-label", made.title);
      made.style.left = `${x(mark.at_ms)}px`;
    });
  }
}
