// Filters, rows on demand, copy buttons. Plain functions over the page and the JSON that it carries.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const symbols = { unsupported: "–", pass: "✓", warn: "!", unstable: "≈", fail: "✕", harness_error: "?" };
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  // Free text with `code` in backticks.
  const prose = (text) => {
    const parts = text.split("`");
    if (parts.length % 2 === 0) return [text];
    return parts.map((part, place) => (place % 2 ? make("code", "", part) : part));
  };
  const badge = (rank, text = "") => {
    const verdict = rank < 0 ? "none" : data.verdicts[rank];
    const element = make("span", `badge ${verdict}`, (symbols[verdict] ?? "·") + text);
    element.title = rank < 0 ? "not checked" : verdict.replace("_", " ");
    return element;
  };
  const caseName = (number) => {
    const name = make("span", "case", data.cases[number].split("::").at(-1));
    name.title = data.cases[number];
    return name;
  };
  const replay = (command) => {
    const button = make("button", "copy", "Copy");
    button.type = "button";
    return make("div", "replay", make("code", "", command), button);
  };

  // The checks behind one requirement, built when it is first opened.
  const checks = (id) => {
    const rule = data.requirements[id];
    const box = make("div", "checks");
    if (rule.why) box.append(make("p", "why", ...prose(rule.why)));
    if (rule.source) {
      const safe = /^https?:/.test(rule.source);
      const link = make(safe ? "a" : "span", "", rule.source.replace(/^https?:\/\/(www\.)?/, ""));
      if (safe) link.href = rule.source;
      box.append(make("p", "source", "Written at ", link, rule.era ? `, ${rule.era}` : null));
    }
    if (rule.claim) box.append(make("p", "source", "Asked only of gateways that claim ", make("code", "", rule.claim)));
    for (const [rank, name, column, message, seed, command] of rule.seen) {
      const place = [data.columns[column], seed === null ? null : `seed ${seed}`].filter((part) => part);
      const seen = make("div", "exhibit", make("p", "seen", badge(rank), " ", ...prose(message)));
      seen.append(make("p", "where", caseName(name), ` · ${place.join(" · ")}`));
      if (command) seen.append(replay(command));
      box.append(seen);
    }
    if (!rule.rows.length) box.append(make("p", "where", "Nothing in this run checked it."));
    return box;
  };
  const open = (row, expanded = true) => {
    const button = row.querySelector("button");
    button.setAttribute("aria-expanded", expanded);
    if (!row.details && expanded) {
      const rule = data.requirements[row.dataset.id];
      const cell = make("td", "", checks(row.dataset.id));
      cell.colSpan = data.columns.length + 1;
      row.details = [make("tr", "detail", cell)];
      for (const [name, ...cells] of rule.rows) {
        const line = make("tr", "detail by-case", make("th", "", caseName(name)));
        for (let place = 0; place < cells.length; place += 2) {
          const count = cells[place + 1];
          line.append(make("td", "cell", badge(cells[place], count > 1 ? ` ${count}` : "")));
        }
        row.details.push(line);
      }
      row.after(...row.details);
    }
    for (const line of row.details ?? []) line.hidden = !expanded;
  };

  // Filters: verdicts that are pressed (none: all), one area, and words that must all occur.
  const rows = all("tr.req");
  const cards = all(".failure");
  const textOf = new Map(rows.map((row) => {
    const rule = data.requirements[row.dataset.id];
    const cases = rule.rows.map(([name]) => data.cases[name]).join(" ");
    return [row.dataset.id, `${row.textContent} ${rule.why ?? ""} ${rule.claim ?? ""} ${cases}`.toLowerCase()];
  }));
  const area = document.getElementById("area");
  const text = document.getElementById("text");
  const toggles = all(".verdicts button");
  const filter = () => {
    const pressed = toggles.filter((button) => button.getAttribute("aria-pressed") === "true").map((b) => b.dataset.verdict);
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = ({ dataset }) =>
      (!pressed.length || pressed.includes(dataset.verdict)) &&
      (!area.value || area.value === dataset.area) &&
      words.every((word) => textOf.get(dataset.id).includes(word));
    let shown = 0;
    for (const row of rows) {
      row.hidden = !fits(row);
      shown += !row.hidden;
      const expanded = row.querySelector("button").getAttribute("aria-expanded") === "true";
      for (const line of row.details ?? []) line.hidden = row.hidden || !expanded;
    }
    for (const card of cards) card.hidden = !fits(card);
    for (const body of all("table.matrix tbody")) body.hidden = !body.querySelector("tr.req:not([hidden])");
    const section = document.getElementById("failures");
    if (section) section.hidden = cards.every((card) => card.hidden);
    const active = pressed.length || words.length || area.value;
    document.getElementById("shown").textContent = active ? `${shown} of ${rows.length} requirements` : "";
    document.getElementById("nothing").hidden = shown > 0 || !rows.length;
  };
  const clear = () => {
    for (const button of toggles) button.setAttribute("aria-pressed", false);
    area.value = text.value = "";
    filter();
  };
  area.addEventListener("change", filter);
  text.addEventListener("input", filter);
  document.getElementById("clear").addEventListener("click", clear);
  document.querySelector("form.tools").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      text.focus();
    } else if (event.key === "Escape") clear();
  });

  const copy = async (button) => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {
      // No clipboard for pages from a file in some browsers: select it, so that one key copies it.
      getSelection().selectAllChildren(code);
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.verdict) {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      filter();
    } else if (button?.classList.contains("copy")) copy(button);
    else if (button?.hasAttribute("aria-expanded")) open(button.closest("tr"), button.getAttribute("aria-expanded") !== "true");
    const message = event.target.closest(".ladder .row");
    if (message) {
      const box = message.closest(".ladder-box");
      const body = box.nextElementSibling;
      for (const other of all(".picked", box)) other.classList.remove("picked");
      message.classList.add("picked");
      body.textContent = message.querySelector("title").textContent;
      body.hidden = false;
    }
  });

  // A link to a requirement opens it.
  const follow = () => {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row?.classList.contains("req")) return;
    if (row.hidden) clear();
    open(row);
    row.scrollIntoView();
  };
  addEventListener("hashchange", follow);
  follow();

  // The column heads stick below the tools, which take more rows on a narrow page.
  const tools = document.querySelector(".tools");
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--tools", `${tools.offsetHeight}px`);
  }).observe(tools);

  // Stories and ladders begin where it matters. Measured when a card comes into sight: before that it has no layout.
  const reveal = (box) => {
    const mark = box.querySelector(".mark");
    if (!mark) return;
    const offset = mark.getBoundingClientRect().top - box.getBoundingClientRect().top;
    box.scrollTop += offset - box.clientHeight * 0.6;
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      reveal(target);
    }
  }, { rootMargin: "200px" });
  for (const box of all(".ladder-box, ol.story")) watcher.observe(box);
  addEventListener("beforeprint", () => { for (const details of all(".others, .again")) details.open = true; });

  // Worlds: some hundred at a time.
  const worlds = document.getElementById("worlds");
  let next = 0;
  const more = () => {
    const batch = data.worlds.slice(next, (next += 300));
    const body = worlds.querySelector("tbody");
    body.append(...batch.map(([name, column, seed, digest, seconds, messages, trace, command, error]) => {
      const last = make("td", "");
      if (trace) {
        const link = make("a", "", "trace");
        link.href = trace;
        last.append(link, " ");
      }
      const short = make("code", "", digest.slice(0, 16));
      short.title = digest;
      const row = make("tr", error === null ? "" : "broken", make("td", "", caseName(name)), make("td", "", column));
      row.append(make("td", "", seed === null ? "typical" : seed), make("td", "", short));
      row.append(make("td", "number", `${seconds.toFixed(2)} s`), make("td", "number", messages.toLocaleString("en")), last);
      if (error !== null) last.append(error);
      else if (command) row.title = command;
      return row;
    }));
    worlds.querySelector(".more").hidden = next >= data.worlds.length;
  };
  worlds?.addEventListener("toggle", () => { if (worlds.open && !next) more(); });
  worlds?.querySelector(".more").addEventListener("click", more);
})();
