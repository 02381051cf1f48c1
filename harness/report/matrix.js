// The grid of verdicts, its filters and keys, and what a cell opens. Plain functions over the JSON that the page carries;
// the cases behind the cells of a row are inflated when they are first asked for.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const symbols = { unsupported: "–", pass: "✓", warn: "!", unstable: "≈", fail: "✕", harness_error: "?" };
  const letters = { fault: "F", ours: "O", taste: "T" };
  const NONE = -1;
  const rankOf = Object.fromEntries(data.verdicts.map((name, rank) => [name, rank]));
  const isFailing = (rank) => rank === rankOf.fail || rank === rankOf.unstable;
  const isMet = (rank) => rank <= rankOf.pass;
  const word = (rank) => (rank < 0 ? "not checked" : data.verdicts[rank].replace("_", " "));
  const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  const safe = (text) => text.replace(/[&<>"]/g, (character) => escapes[character]);
  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  };
  // Free text with `code` in backticks.
  const prose = (text) => {
    const parts = text.split("`");
    if (parts.length % 2 === 0) return [text];
    return parts.map((part, place) => (place % 2 ? make("code", "", part) : part));
  };
  const badge = (rank, text = "") =>
    make("span", `badge ${rank < 0 ? "none" : data.verdicts[rank]}`, (rank < 0 ? "·" : symbols[data.verdicts[rank]]) + (text && ` ${text}`));
  const link = (url) => {
    if (!/^https?:/.test(url)) return make("span", "", url);
    const anchor = make("a", "", url.replace(/^https?:\/\/(www\.)?/, ""));
    anchor.href = url;
    anchor.rel = "noreferrer";
    return anchor;
  };
  const placeName = (place) => {
    const [stage, model, dialect, day] = data.places[place];
    return [dialect ? `${model} (${dialect})` : model || "any model", day, stage].filter(Boolean).join(" · ");
  };

  // Areas as ranges of rules; each rule's text for the search.
  let start = 0;
  const areas = data.areas.map(([title, length]) => ({ title, from: start, to: (start += length) }));
  const texts = data.rules.map((rule) => rule.filter(Boolean).join(" ").toLowerCase());
  const labels = data.rows.map((row) => `${row.gateway} ${row.version}`.toLowerCase());
  const opened = new Set();

  // Filters. `worst` holds for each row the worst verdict on each rule in the set-ups that fit.
  const selects = [...document.querySelectorAll("select[data-filter]")];
  const search = document.getElementById("text");
  const toggles = [...document.querySelectorAll(".verdicts button")];
  let worst = [];
  let shownRows = [];
  let shownRules = [];
  let narrowed = false; // fewer rules than there are
  let unfolded = false; // so few that areas are open unless somebody shuts them
  const FEW = 2400;
  const fits = (place) => selects.every((select) => {
    const position = ["stage", "model", "dialect", "as_of"].indexOf(select.dataset.filter);
    return !select.value || data.places[place][position] === select.value;
  });
  const add = (row) => {
    const found = new Int8Array(data.rules.length).fill(NONE);
    row.places.forEach((place, number) => {
      if (!fits(place)) return;
      const cells = row.cells[number];
      for (let rule = 0; rule < found.length; rule++) {
        const rank = cells.charCodeAt(rule) - 48;
        if (rank > found[rule]) found[rule] = rank;
      }
    });
    return found;
  };
  const choose = () => {
    worst = data.rows.map(add);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const names = words.filter((one) => labels.some((label) => label.includes(one)));
    const others = words.filter((one) => !names.includes(one));
    const tried = (row) => worst[row].some((rank) => rank >= 0);
    shownRows = data.rows.map((_, row) => row).filter((row) => tried(row) && names.every((one) => labels[row].includes(one)));
    const pressed = new Set(toggles.filter((button) => button.getAttribute("aria-pressed") === "true").map((button) => rankOf[button.dataset.verdict]));
    narrowed = pressed.size > 0 || others.length > 0;
    shownRules = data.rules.map((_, rule) => rule).filter((rule) =>
      shownRows.some((row) => (pressed.size ? pressed.has(worst[row][rule]) : worst[row][rule] >= 0)) &&
      others.every((one) => texts[rule].includes(one)));
    unfolded = narrowed && shownRules.length * shownRows.length <= FEW;
  };

  // Drawing. Only what is open is in the page: an area that is shut is one cell a row.
  const head = document.querySelector(".grid thead");
  const body = document.querySelector(".grid tbody");
  const columns = () => {
    const found = [];
    const visible = new Set(shownRules);
    areas.forEach((area, number) => {
      const rules = [];
      for (let rule = area.from; rule < area.to; rule++) if (visible.has(rule)) rules.push(rule);
      if (!rules.length) return;
      const isOpen = opened.has(number) !== unfolded;
      found.push({ area: number, rules, isOpen });
      if (isOpen) for (const rule of rules) found.push({ rule });
    });
    return found;
  };
  const sum = (row, column, place) => {
    const counts = new Map();
    for (const rule of column.rules) counts.set(worst[row][rule], (counts.get(worst[row][rule]) ?? 0) + 1);
    const rank = Math.max(...counts.keys());
    const verdict = rank < 0 ? "none" : data.verdicts[rank];
    const told = [...counts].sort((a, b) => b[0] - a[0]).map(([key, count]) => `${count} ${word(key)}`).join(", ");
    const label = `${areas[column.area].title}, ${data.rows[row].gateway} ${data.rows[row].version}: ${told}`;
    const text = rank < 0 ? "·" : `${symbols[verdict]}${counts.get(rank)}`;
    return `<td class="sum ${verdict}" role="gridcell" tabindex="-1" data-c="${place}" aria-label="${safe(label)}" title="${safe(told)}"><i>${text}</i></td>`;
  };
  const single = (row, rule, place) => {
    const rank = worst[row][rule];
    const verdict = rank < 0 ? "none" : data.verdicts[rank];
    const note = data.rows[row].notes[rule];
    const mark = note && !isMet(rank) ? `<sup>${letters[note[0]]}</sup>` : isFailing(rank) ? "<sup>?</sup>" : "";
    const label = `${data.rules[rule][0]}, ${data.rows[row].gateway} ${data.rows[row].version}: ${word(rank)}`;
    return `<td class="one opened ${verdict}" role="gridcell" tabindex="-1" data-c="${place}" aria-label="${safe(label)}" title="${safe(label)}"><i>${symbols[verdict] ?? "·"}${mark}</i></td>`;
  };
  let drawn = [];
  const draw = () => {
    drawn = columns();
    const heads = drawn.map((column, place) => column.rule === undefined
      ? `<th scope="col" class="area${column.isOpen ? " open" : ""}"><button type="button" data-c="${place}" aria-expanded="${column.isOpen}">${safe(areas[column.area].title)}</button></th>`
      : `<th scope="col" class="one"><button type="button" data-c="${place}" title="${safe(data.rules[column.rule][2])}">${safe(data.rules[column.rule][0])}</button></th>`);
    head.innerHTML = `<tr><th class="name" scope="col">Gateway and version</th>${heads.join("")}</tr>`;
    let before = null;
    body.innerHTML = shownRows.map((row) => {
      const { gateway, version } = data.rows[row];
      const first = gateway !== before;
      before = gateway;
      const cells = drawn.map((column, place) => (column.rule === undefined ? sum(row, column, place) : single(row, column.rule, place)));
      const name = `<b${first ? "" : ' class="same" aria-hidden="true"'}>${safe(gateway)}</b> <span>${safe(version || "no version")}</span>`;
      return `<tr data-r="${row}"${first ? ' class="first"' : ""}><th class="name" scope="row">${name}</th>${cells.join("")}</tr>`;
    }).join("");
    body.querySelector("td")?.setAttribute("tabindex", "0");
    const empty = !shownRows.length || !drawn.length;
    document.querySelector(".grid-box").hidden = empty;
    document.getElementById("nothing").hidden = !empty;
    const all = shownRows.length === data.rows.length && !narrowed;
    document.getElementById("shown").textContent = all ? "" : `${shownRules.length} requirements, ${shownRows.length} of ${data.rows.length} versions`;
  };
  const filter = () => { opened.clear(); choose(); draw(); };
  const clear = () => {
    for (const button of toggles) button.setAttribute("aria-pressed", false);
    for (const select of selects) select.value = "";
    search.value = "";
    filter();
  };

  // What is behind a row: deflated JSON in base64.
  const inflated = new Map();
  const inflate = (row) => {
    if (!inflated.has(row)) inflated.set(row, (async () => {
      const packed = Uint8Array.from(atob(document.getElementById(`row-${row}`).textContent), (character) => character.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
      return JSON.parse(await new Response(stream).text());
    })());
    return inflated.get(row);
  };

  const panel = document.getElementById("panel");
  let origin = null;
  let opener = null;
  const show = (line, title, ...content) => {
    const close = make("button", "", "Close");
    close.type = "button";
    close.dataset.do = "close";
    const heading = make("h3", "", title);
    heading.id = "panel-title";
    panel.replaceChildren(
      make("div", "panel-head", make("div", "", make("p", "line", ...line), heading), make("div", "keys", close)),
      make("div", "panel-body", ...content),
    );
    if (!panel.open) {
      opener = document.activeElement;
      panel.showModal();
    }
    panel.scrollTop = 0;
    return panel.querySelector(".panel-body");
  };
  const keys = (row, rule) => {
    const wrong = data.rules.map((_, number) => number).filter((number) => !isMet(worst[row][number]));
    const at = wrong.indexOf(rule);
    if (at < 0 || wrong.length < 2) return;
    const buttons = [["‹", -1, "The one before that is not met"], ["›", 1, "The next that is not met"]].map(([text, step, title]) => {
      const button = make("button", "", text);
      button.type = "button";
      button.title = `${title} (arrow key)`;
      button.dataset.step = step;
      button.setAttribute("aria-label", title);
      button.addEventListener("click", () => openCell(row, wrong[(at + step + wrong.length) % wrong.length]));
      return button;
    });
    panel.querySelector(".keys").prepend(...buttons);
  };
  const version = (row) => `${data.rows[row].gateway} ${data.rows[row].version}`;
  const about = (rule) => {
    const [, , , why, source, era, claim] = data.rules[rule];
    return [
      why ? make("p", "why", ...prose(why)) : null,
      source ? make("p", "source", "Written at ", link(source), era ? `, ${era}` : null) : null,
      claim ? make("p", "source", "Asked only of gateways that claim ", make("code", "", claim)) : null,
    ];
  };
  const finding = (row, rule) => {
    const note = data.rows[row].notes[rule];
    if (!note) return isFailing(worst[row][rule]) ? make("p", "finding open", "Not looked into: nobody has said yet whose fault it is.") : null;
    const evidence = note[2].map((text) => make("span", "source", " ", link(text)));
    return make("p", "finding", make("b", "", `Looked into: ${data.words[note[0]]}. `), ...prose(note[1]), ...evidence);
  };
  const ruleList = (row, rules) => make("ul", "rules", rules.map((rule) => {
    const [id, , text] = data.rules[rule];
    const button = make("button", "", make("span", "", badge(worst[row][rule])), make("span", "id", id), make("span", "text", ...prose(text)));
    button.type = "button";
    button.addEventListener("click", () => openCell(row, rule));
    return make("li", "", button);
  }));
  const openArea = (row, column) => {
    const rules = [...column.rules].sort((a, b) => worst[row][b] - worst[row][a] || a - b);
    show([version(row)], areas[column.area].title, ruleList(row, rules));
  };
  const openRule = (rule) => {
    const [id, level, text] = data.rules[rule];
    const list = make("ul", "rules", shownRows.map((row) => {
      const note = data.rows[row].notes[rule];
      const button = make("button", "", make("span", "", badge(worst[row][rule])), make("span", "id", data.rows[row].version), make("span", "text", data.rows[row].gateway, note ? ` · ${data.words[note[0]]}` : null));
      button.type = "button";
      button.addEventListener("click", () => openCell(row, rule));
      return make("li", "", button);
    }));
    show([make("span", "id", id), make("span", "level", level)], text, ...about(rule), list);
  };

  const table = (details, rule, places) => {
    const found = new Map();
    for (const [name, place, rank, count] of details.checks[data.rules[rule][0]] ?? []) {
      if (!places.includes(place)) continue;
      if (!found.has(name)) found.set(name, new Map());
      found.get(name).set(place, [rank, count]);
    }
    const worstOf = (cells) => Math.max(...[...cells.values()].map(([rank]) => rank));
    const line = ([name, cells]) => make("tr", "", make("th", "", make("span", "case", details.cases[name])), places.map((place) => {
      const [rank, count] = cells.get(place) ?? [NONE, 0];
      return make("td", "", badge(rank, count > 1 ? String(count) : ""));
    }));
    const build = (rows) => make("div", "scroll", make("table", "by-place",
      make("thead", "", make("tr", "", make("th", "", "Case"), places.map((place) => make("th", "", placeName(place))))),
      make("tbody", "", rows.map(line))));
    const wrong = [...found].filter(([, cells]) => !isMet(worstOf(cells)));
    const good = [...found].filter(([, cells]) => isMet(worstOf(cells)));
    const rest = make("details", "", make("summary", "", `${good.length} case${good.length === 1 ? "" : "s"} with nothing wrong`));
    rest.addEventListener("toggle", () => { if (rest.open && !rest.querySelector("table")) rest.append(build(good)); });
    if (!wrong.length && good.length && good.length < 40) return [make("h4", "", "Cases"), build(good)];
    return [make("h4", "", "Cases"), wrong.length ? build(wrong) : null, good.length ? rest : null];
  };
  const scene = ({ story, ladder }) => {
    if (!story?.length && !ladder) return null;
    const box = make("div", `scene${story?.length && ladder ? "" : " wide"}`);
    if (story?.length) {
      const list = make("ol", "story", story.map(([time, words, reason, mine]) =>
        make("li", mine ? "mark" : "", make("time", "", time), " ", make("span", "", ...prose(words), reason === null ? null : make("em", "", " ", ...prose(reason))))));
      list.tabIndex = 0;
      list.setAttribute("aria-label", "What happened");
      box.append(make("div", "", make("h4", "", "What happened"), list));
    }
    if (ladder) {
      const lines = make("div", "ladder-box", make("div", "ladder-head"));
      lines.firstChild.innerHTML = ladder[0];
      lines.insertAdjacentHTML("beforeend", ladder[1]);
      lines.tabIndex = 0;
      lines.setAttribute("role", "group");
      lines.setAttribute("aria-label", "Ladder diagram");
      const picked = make("pre", "body picked");
      picked.hidden = true;
      box.append(make("div", "", make("h4", "", "On the wire ", make("small", "", "choose a message to read it")), lines, picked));
    }
    return box;
  };
  const exhibit = (seen, row) => {
    const places = seen.places.map(placeName);
    const box = make("div", `exhibit ${data.verdicts[seen.rank]}`, make("p", "seen", badge(seen.rank, word(seen.rank)), " ", ...prose(seen.message)));
    if (seen.detail) box.append(make("pre", "body", seen.detail));
    const cases = (seen.cases ?? []).slice(0, 4).join(", ") + (seen.cases?.length > 4 ? ` and ${seen.cases.length - 4} more` : "");
    box.append(make("p", "where", make("span", "case", cases), ` · ${places.join("; ")}`, seen.count > 1 ? ` · ${seen.count} times` : null));
    if (seen.replay) {
      const button = make("button", "copy", "Copy");
      button.type = "button";
      box.append(make("div", "replay", make("code", "", seen.replay), button));
    }
    if (seen.scene) box.append(scene(seen.scene) ?? "");
    if (seen.again) box.append(make("details", "again", make("summary", "", "Run again, it did not show"), scene(seen.again)));
    if (seen.output) box.append(make("details", "printed", make("summary", "", "What the gateway printed"), make("pre", "body", seen.output)));
    return box;
  };
  const address = (row, rule) => [data.rows[row].gateway, data.rows[row].version, data.rules[rule][0]].map(encodeURIComponent).join("/");
  let asked = 0;
  const openCell = async (row, rule) => {
    const [id, level, text] = data.rules[rule];
    const turn = ++asked;
    history.replaceState(null, "", `#${address(row, rule)}`);
    const line = [badge(worst[row][rule], word(worst[row][rule])), make("span", "id", id), make("span", "level", level), make("b", "", version(row))];
    const content = show(line, "", ...about(rule), finding(row, rule), make("p", "busy", "…"));
    panel.querySelector("h3").append(...prose(text));
    keys(row, rule);
    let details;
    try {
      details = await inflate(row);
    } catch (error) {
      content.querySelector(".busy").textContent = `This browser cannot unpack what is behind the cell (${error}); it is in the results files.`;
      return;
    }
    if (turn !== asked) return;
    content.querySelector(".busy").remove();
    const places = data.rows[row].places.filter(fits);
    const seen = (details.seen[id] ?? []).filter((one) => one.places.some((place) => places.includes(place)));
    seen.sort((a, b) => b.rank - a.rank);
    content.append(...seen.map((one) => exhibit(one, row)), ...table(details, rule, places).filter(Boolean));
    for (const box of content.querySelectorAll(".ladder-box, ol.story")) {
      const mark = box.querySelector(".mark");
      if (mark) box.scrollTop += mark.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight * 0.6;
    }
  };

  // Pointer and keys.
  const enter = (cell) => {
    const column = drawn[cell.dataset.c];
    const row = Number(cell.parentNode.dataset.r);
    origin = { row, c: cell.dataset.c };
    if (column.rule === undefined) openArea(row, column);
    else if (worst[row][column.rule] >= 0) openCell(row, column.rule);
  };
  body.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    if (cell) enter(cell);
  });
  body.addEventListener("focusin", (event) => {
    const cell = event.target.closest("td");
    if (!cell) return;
    body.querySelector('td[tabindex="0"]')?.setAttribute("tabindex", "-1");
    cell.setAttribute("tabindex", "0");
  });
  body.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td");
    if (!cell) return;
    const line = cell.parentNode;
    const place = cell.cellIndex;
    const next = {
      ArrowRight: line.cells[place + 1],
      ArrowLeft: place > 1 ? line.cells[place - 1] : null,
      ArrowDown: line.nextElementSibling?.cells[place],
      ArrowUp: line.previousElementSibling?.cells[place],
      Home: line.cells[1],
      End: line.cells[line.cells.length - 1],
    }[event.key];
    if (event.key === "Enter" || event.key === " ") enter(cell);
    else if (!next) return;
    event.preventDefault();
    next?.focus();
    next?.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  head.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const column = drawn[button.dataset.c];
    if (column.rule !== undefined) return openRule(column.rule);
    if (!opened.delete(column.area)) opened.add(column.area);
    draw();
    const again = drawn.findIndex((one) => one.rule === undefined && one.area === column.area);
    head.querySelector(`button[data-c="${again}"]`)?.focus();
  });
  panel.addEventListener("close", () => {
    asked++;
    history.replaceState(null, "", location.pathname + location.search);
    // The event comes a little later than the browser has given the focus back: whoever has moved on since is left alone.
    const now = document.activeElement;
    if (now !== opener && body.contains(now)) return;
    body.querySelector(origin ? `tr[data-r="${origin.row}"] td[data-c="${origin.c}"]` : "td")?.focus({ preventScroll: true });
  });
  panel.addEventListener("keydown", (event) => {
    if (/^(INPUT|TEXTAREA)$/.test(event.target.tagName) || event.target.closest(".ladder-box, .story, pre, .scroll")) return;
    const step = { ArrowLeft: "-1", ArrowRight: "1" }[event.key];
    if (step) panel.querySelector(`button[data-step="${step}"]`)?.click();
  });
  panel.addEventListener("click", async (event) => {
    if (event.target === panel || event.target.closest("[data-do=close]")) return panel.close();
    const button = event.target.closest("button.copy");
    if (button) {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      } catch {
        getSelection().selectAllChildren(code); // no clipboard for pages from a file in some browsers
      }
    }
    const message = event.target.closest(".ladder .row");
    if (message) {
      const box = message.closest(".ladder-box");
      for (const other of box.querySelectorAll(".picked")) other.classList.remove("picked");
      message.classList.add("picked");
      box.nextElementSibling.textContent = message.querySelector("title").textContent;
      box.nextElementSibling.hidden = false;
    }
  });
  for (const select of selects) select.addEventListener("change", filter);
  for (const button of toggles) button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
    filter();
  });
  search.addEventListener("input", filter);
  document.querySelector("form.tools").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", clear);
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !panel.open && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && !panel.open) clear();
  });

  // An address opens its cell.
  const follow = () => {
    const wanted = location.hash.slice(1);
    if (!wanted) return;
    for (let row = 0; row < data.rows.length; row++) {
      const rule = data.rules.findIndex((_, number) => address(row, number) === wanted);
      if (rule >= 0) return openCell(row, rule);
    }
  };
  addEventListener("hashchange", follow);
  filter();
  follow();
})();
