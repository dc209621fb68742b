"use strict";
// The viewer. Text is only ever set as text (textContent): what a title or a model says is no code.
(() => {
  const $ = (id) => document.getElementById(id);
  const ROW = 72; // pixels, as in viewer.css
  const BEFORE = 2; // seconds that are played before an event
  const MARKS = ["", "true", "false", "unsure"];
  const SIGNS = ["", "✓ true", "✗ false", "? unsure"];
  // Okabe and Ito's palette without the orange of annotations: told apart by all kinds of vision.
  const COLOURS = ["#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#5d5d5d"];
  const colour = (method) => COLOURS[method % COLOURS.length];

  let study; // data/study.js
  let events; // its columns
  let found = []; // numbers of the events or videos listed, in order
  let listing = "events"; // or "videos"
  let now = { video: -1, event: -1 }; // what the player shows
  let details = null; // data/videos/VIDEO.js of the video shown
  let shownMethods = new Set();
  let chart = null;
  let view = [0, 1]; // seconds that the chart shows
  let marks = new Uint8Array(0); // of every event: a number of MARKS
  let store = {}; // marks as they are kept: {"file|method|start-end": number}
  let lost = []; // marks of events that are no longer found
  const orders = {}; // events in each order, sorted once

  // --- data -------------------------------------------------------------------------------------

  const waiting = new Map();
  window.hhvadData = (kind, name, value) => {
    const key = `${kind} ${name}`;
    if (waiting.has(key)) waiting.get(key)(value);
  };

  function load(kind, name, file) {
    return new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      waiting.set(`${kind} ${name}`, resolve);
      tag.onload = () => tag.remove();
      tag.onerror = () => reject(new Error(`${decodeURIComponent(file)} is missing: keep the page and its data folder together`));
      tag.src = file;
      document.head.append(tag);
    });
  }

  const cache = new Map(); // the videos opened last
  async function loadVideo(index) {
    if (!cache.has(index)) {
      const name = study.videos[index].video;
      cache.set(index, load("video", name, `data/videos/${encodeURIComponent(name)}.js`));
      if (cache.size > 12) cache.delete(cache.keys().next().value);
    }
    return cache.get(index);
  }

  // --- words ------------------------------------------------------------------------------------

  function clock(seconds, digits = 0) {
    const scale = 10 ** digits;
    const total = Math.round(Math.max(0, seconds) * scale) / scale;
    const hours = Math.floor(total / 3600);
    const minutes = Math.floor((total % 3600) / 60);
    const rest = (total % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  }

  function span(start, end) {
    const digits = end - start < 3 ? 1 : 0;
    return `${clock(start, digits)} – ${clock(end, digits)}`;
  }

  function wallClock(video, seconds) {
    const started = video.started && new Date(video.started);
    if (!started || Number.isNaN(started.getTime())) return "";
    // The camera's own clock, whatever zone the reader is in.
    const zone = /(Z|[+-]\d\d:\d\d)$/.exec(video.started);
    const local = new Date(video.started.replace(/(Z|[+-]\d\d:\d\d)$/, "") + "Z");
    const text = new Date(local.getTime() + seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
    return zone && zone[0] !== "Z" ? `${text} ${zone[0]}` : zone ? `${text} UTC` : text;
  }

  const many = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

  function make(tag, text, className) {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    if (className) node.className = className;
    return node;
  }

  let toastTimer;
  function toast(text) {
    $("toast").textContent = text;
    $("toast").hidden = false;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => ($("toast").hidden = true), 3500);
  }

  // --- filter and order -------------------------------------------------------------------------

  let haystacks = []; // per video, lower case
  let texts = null; // per event, lower case, where there are descriptions
  let markedVideos = null; // per video: bits of its events' marks

  function fillSelect(select, values, all) {
    if (all !== undefined) select.append(new Option(all, ""));
    for (const [value, text] of values) select.append(new Option(text, value));
  }

  function prepareFilters() {
    haystacks = study.videos.map((v) => `${v.video}\n${v.category}\n${v.label}`.toLowerCase());
    texts = events.text ? events.text.map((text) => text.toLowerCase()) : null;
    const categories = [...new Set(study.videos.flatMap((v) => v.category.split(";")))].filter(Boolean).sort();
    const splits = [...new Set(study.videos.map((v) => v.split))];
    fillSelect($("by-method"), study.methods.map((m, i) => [String(i), m.name]));
    if (study.methods.length > 1) $("by-method").append(new Option("all", "all"));
    fillSelect($("by-category"), categories.map((c) => [c, c]), "all");
    fillSelect($("by-split"), splits.map((s) => [s, s]), "all");
    const several = { "by-method": study.methods.length, "by-category": categories.length, "by-split": splits.length - 1 };
    for (const [id, count] of Object.entries(several)) $(id).disabled = count < 1;
    $("by-method").disabled = study.methods.length < 2;
  }

  function ordered(order) {
    if (!orders[order]) {
      const all = Uint32Array.from(events.video.keys());
      const { video, start, end } = events;
      if (order === "time") all.sort((a, b) => video[a] - video[b] || start[a] - start[b]);
      if (order === "length") all.sort((a, b) => end[b] - start[b] - (end[a] - start[a]) || a - b);
      orders[order] = all; // "score": the file is ranked
    }
    return orders[order];
  }

  function videoFilter(words) {
    const category = $("by-category").value;
    const split = $("by-split").value;
    return study.videos.map((video, i) => {
      if (split && video.split !== split) return 0;
      if (category && !video.category.split(";").includes(category)) return 0;
      return words.every((word) => haystacks[i].includes(word)) ? 2 : 1; // 1: by description only
    });
  }

  function accepts(mark, wanted) {
    if (!wanted) return true;
    if (wanted === "none") return mark === 0;
    return wanted === "any" ? mark !== 0 : mark === Number(wanted);
  }

  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const method = $("by-method").value === "all" ? -1 : Number($("by-method").value);
    const least = Number($("by-score").value) || 0;
    const wanted = $("by-mark").value;
    const videos = videoFilter(words);
    found = [];
    if (listing === "events") {
      for (const i of ordered($("order").value)) {
        const state = videos[events.video[i]];
        if (!state || events.peak[i] < least || (method >= 0 && events.method[i] !== method)) continue;
        if (state === 1) {
          if (!texts) continue;
          const hay = haystacks[events.video[i]];
          if (!words.every((word) => hay.includes(word) || texts[i].includes(word))) continue;
        }
        if (accepts(marks[i], wanted)) found.push(i);
      }
    } else {
      if (wanted && !markedVideos) countMarkedVideos();
      highest(0);
      const peak = peaks[$("by-method").value];
      const passes = (i) => {
        if (videos[i] !== 2 || peak[i] < least) return false;
        if (!wanted) return true;
        const bits = markedVideos[i];
        return wanted === "none" ? !bits : wanted === "any" ? bits > 0 : Boolean(bits & (1 << Number(wanted)));
      };
      for (let i = 0; i < study.videos.length; i++) if (passes(i)) found.push(i);
      const order = $("order").value;
      if (order === "score") found.sort((a, b) => peak[b] - peak[a] || a - b);
      if (order === "length") found.sort((a, b) => study.videos[b].duration - study.videos[a].duration || a - b);
    }
    const total = listing === "events" ? perVideo().reduce((sum, count) => sum + count, 0) : study.videos.length;
    const word = listing === "events" ? "event" : "video";
    const by = listing === "events" && method >= 0 && study.methods.length > 1 ? ` of ${study.methods[method].name}` : "";
    $("count").textContent =
      (found.length === total ? many(total, word) : `${found.length.toLocaleString("en")} of ${many(total, word)}`) + by;
    $("empty").hidden = found.length > 0;
    $("empty").textContent = total ? `No ${word} passes these filters.` : "No events: no score is above its threshold.";
    $("rows").style.height = `${found.length * ROW}px`;
    $("list").scrollTop = 0;
    draw(true);
  }

  function countMarkedVideos() {
    markedVideos = new Uint8Array(study.videos.length);
    for (let i = 0; i < marks.length; i++) if (marks[i]) markedVideos[events.video[i]] |= 1 << marks[i];
  }

  const peaks = {}; // per choice of method, the highest score of every video
  function highest(video) {
    const method = $("by-method").value;
    peaks[method] ??= study.videos.map((v) => Math.max(0, ...(method === "all" ? v.highest : [v.highest[method]])));
    return peaks[method][video];
  }

  // --- list: only the rows in sight exist -------------------------------------------------------

  const pool = [];
  let quiet;

  function newRow() {
    const row = make("div", null, "row");
    row.setAttribute("role", "option");
    row.parts = {};
    const add = (parent, name, tag = "div") => parent.append((row.parts[name] = make(tag, null, name)));
    add(row, "picture");
    const middle = make("div");
    for (const name of ["name", "when", "text"]) add(middle, name);
    const right = make("div");
    add(right, "score");
    const bar = make("div", null, "bar");
    add(bar, "fill", "i");
    right.append(bar);
    add(right, "mark");
    row.append(middle, right);
    $("rows").append(row);
    return row;
  }

  function draw(force) {
    const list = $("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 3);
    const last = Math.min(found.length, first + Math.ceil(list.clientHeight / ROW) + 6);
    while (pool.length < last - first) pool.push(newRow());
    const size = pool.length;
    for (const row of pool) row.wanted = false;
    for (let at = first; at < last; at++) {
      const row = pool[at % size];
      row.wanted = true;
      if (force || row.at !== at || row.item !== found[at]) fillRow(row, at);
    }
    for (const row of pool) row.hidden = !row.wanted;
    clearTimeout(quiet);
    quiet = setTimeout(drawPictures, 60); // not while rows fly by
  }

  function fillRow(row, at) {
    const item = found[at];
    row.at = at;
    row.item = item;
    row.style.transform = `translateY(${at * ROW}px)`;
    row.setAttribute("aria-posinset", at + 1);
    row.setAttribute("aria-setsize", found.length);
    const parts = row.parts;
    const isEvent = listing === "events";
    const index = isEvent ? events.video[item] : item;
    const video = study.videos[index];
    const method = isEvent ? events.method[item] : Math.max(0, Number($("by-method").value) || 0);
    const score = isEvent ? events.peak[item] : highest(item);
    const mark = isEvent ? marks[item] : 0;
    parts.name.textContent = video.video;
    parts.name.title = video.video;
    const facts = isEvent ? [span(events.start[item], events.end[item])] : [clock(video.duration)];
    const wall = isEvent ? wallClock(video, events.start[item]) : "";
    if (wall) facts.push(wall);
    if (isEvent && study.methods.length > 1 && $("by-method").value === "all") facts.push(study.methods[method].name);
    if (video.category) facts.push(video.category.replaceAll(";", ", "));
    else if (video.label) facts.push(video.label);
    parts.when.textContent = facts.join(" · ");
    if (isEvent) parts.text.textContent = events.text ? events.text[item] : "";
    else {
      const annotated = video.annotated === null ? "not annotated" : `${video.annotated} annotated`;
      parts.text.textContent = `${video.split} · ${many(perVideo()[index], "event")} · ${annotated}`;
    }
    parts.score.textContent = score.toFixed(2);
    parts.fill.style.width = `${Math.min(100, Math.max(0, 100 * score))}%`;
    parts.fill.style.background = colour(method);
    parts.mark.textContent = SIGNS[mark];
    row.dataset.mark = mark;
    row.classList.toggle("quiet", Boolean(isEvent && events.quiet?.[item]));
    row.setAttribute("aria-selected", String(isEvent ? item === now.event : item === now.video));
    parts.picture.style.backgroundImage = "";
    row.tile = video.sprite && [index, isEvent ? events.tile[item] : bestTile(index)];
  }

  let best = null; // per video, the tile of its highest event
  function bestTile(index) {
    if (!best) {
      best = study.videos.map((v) => (v.sprite ? Math.floor(v.sprite[3] / 2) : 0));
      for (let i = events.video.length - 1; i >= 0; i--) best[events.video[i]] = events.tile[i];
    }
    return best[index];
  }

  let eventCounts = null;
  let countedMethod = null;
  function perVideo() {
    const method = $("by-method").value;
    if (!eventCounts || countedMethod !== method) {
      eventCounts = new Uint32Array(study.videos.length);
      countedMethod = method;
      events.video.forEach((v, i) => {
        if (method === "all" || events.method[i] === Number(method)) eventCounts[v]++;
      });
    }
    return eventCounts;
  }

  function drawPictures() {
    for (const row of pool) {
      if (row.wanted && row.tile && !row.parts.picture.style.backgroundImage) {
        showTile(row.parts.picture, ...row.tile, 96, 54);
      }
    }
  }

  function showTile(node, index, tile, boxWidth, boxHeight) {
    const video = study.videos[index];
    const [width, height, columns, count] = video.sprite;
    const scale = Math.min(boxWidth / width, boxHeight / height);
    const [w, h] = [width * scale, height * scale];
    node.style.width = `${w}px`;
    node.style.height = `${h}px`;
    node.style.backgroundImage = `url("data/thumbnails/${encodeURIComponent(video.video)}.jpg")`;
    node.style.backgroundSize = `${w * columns}px ${h * Math.ceil(count / columns)}px`;
    node.style.backgroundPosition = `${-(tile % columns) * w}px ${-Math.floor(tile / columns) * h}px`;
  }

  function reveal(at) {
    const list = $("list");
    const top = at * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  }

  // --- player -----------------------------------------------------------------------------------

  const player = $("video");

  function choose(item) {
    if (listing === "events") open(events.video[item], item);
    else open(item, -1);
  }

  async function open(video, event) {
    const another = video !== now.video;
    now = { video, event };
    document.body.classList.add("playing");
    $("welcome").hidden = true;
    $("stage").hidden = false;
    draw(true);
    if (another) {
      player.pause();
      details = null;
      try {
        const loaded = await loadVideo(video);
        if (now.video !== video) return; // something else was chosen meanwhile
        details = loaded;
      } catch (error) {
        trouble(error.message);
        return;
      }
      setSource();
      view = [0, study.videos[video].duration];
    }
    if (!details) return;
    describe();
    drawTracks();
    const { start, end } = interval();
    const length = study.videos[video].duration;
    // A short event of a long video would be a dot on the curve.
    if (event >= 0 && (end - start) / length < 0.02) zoomTo(start - 30, end + 30);
    else if (another || event >= 0) view = [0, length];
    drawChart();
    seek(event >= 0 ? start - BEFORE : 0);
    play();
  }

  const interval = () =>
    now.event < 0 ? { start: 0, end: 0 } : { start: events.start[now.event], end: events.end[now.event] };

  function proxies() {
    try {
      return JSON.parse(localStorage.getItem("hhvad-proxies")) || {};
    } catch {
      return {};
    }
  }

  function setSource() {
    const key = study.videos[now.video].key;
    const proxy = proxies()[key];
    $("trouble").hidden = true;
    if (details.unplayable && !proxy) {
      player.removeAttribute("src");
      player.load();
      trouble(`Browsers cannot play this video (${details.unplayable}). The scores below are complete. To watch it, make a copy that browsers play, in the folder in which Snakemake runs:`, true);
    } else {
      player.src = details.source + (proxy ? ".proxy.mp4" : "");
    }
  }

  function trouble(text, command) {
    $("trouble").hidden = false;
    $("trouble-text").textContent = text;
    $("trouble-command").textContent = command ? details.proxy : "";
    for (const id of ["trouble-command", "copy-command", "try-proxy"]) $(id).hidden = !command;
  }

  player.addEventListener("error", () => {
    if (!player.getAttribute("src")) return;
    const saved = proxies();
    const key = study.videos[now.video].key;
    if (saved[key]) {
      delete saved[key];
      localStorage.setItem("hhvad-proxies", JSON.stringify(saved));
    }
    const file = decodeURIComponent(player.getAttribute("src"));
    trouble(`The video could not be opened: ${file}, as seen from this page. Either it is not there (a page that was moved, or packed into a report, has no videos beside it), or this browser cannot play it; then make a copy that it can, in the folder in which Snakemake runs:`, true);
  });

  $("try-proxy").addEventListener("click", () => {
    const saved = proxies();
    saved[study.videos[now.video].key] = 1;
    try {
      localStorage.setItem("hhvad-proxies", JSON.stringify(saved));
    } catch { /* not kept, but played now */ }
    $("trouble").hidden = true;
    player.src = `${details.source}.proxy.mp4`;
    seek(Math.max(0, interval().start - BEFORE));
    play();
  });

  $("copy-command").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(details.proxy);
      toast("Copied.");
    } catch {
      getSelection().selectAllChildren($("trouble-command"));
      toast("Selected: copy it with Ctrl+C.");
    }
  });

  let pending = null; // where to go once the video is open
  let position = 0; // seconds, where the heads are
  function seek(seconds) {
    const to = Math.min(Math.max(0, seconds), study.videos[now.video].duration);
    if (player.readyState >= 1) player.currentTime = to;
    else pending = to;
    moveHeads(to);
  }
  player.addEventListener("loadedmetadata", () => {
    if (pending !== null) player.currentTime = pending;
    pending = null;
    player.playbackRate = Number($("speed").value);
  });

  function play() {
    if (player.getAttribute("src")) player.play().catch(() => {}); // the error event says why
  }
  const toggle = () => (player.paused ? play() : player.pause());
  for (const type of ["play", "pause", "ended"]) {
    player.addEventListener(type, () => {
      $("play").classList.toggle("playing", !player.paused);
      if (!player.paused) requestAnimationFrame(follow);
    });
  }
  player.addEventListener("seeked", () => moveHeads(player.currentTime));
  player.addEventListener("timeupdate", () => { if (pending === null && player.readyState) moveHeads(player.currentTime); });
  player.addEventListener("click", toggle);

  function follow() {
    if (player.paused) return;
    if (pending === null) moveHeads(player.currentTime);
    requestAnimationFrame(follow);
  }

  function moveHeads(seconds) {
    position = seconds;
    const length = study.videos[now.video].duration;
    const part = Math.min(1, seconds / length);
    $("head").style.left = `${100 * part}%`;
    $("seek").setAttribute("aria-valuenow", seconds.toFixed(1));
    $("seek").setAttribute("aria-valuetext", clock(seconds));
    $("clock").textContent = `${clock(seconds)} / ${clock(length)}`;
    if (chart) placeLine(chart);
  }

  function placeLine(u) {
    const line = u.over.querySelector(".playhead");
    if (!line) return;
    line.hidden = position < view[0] || position > view[1];
    line.style.left = `${u.valToPos(position, "x")}px`;
  }

  function describe() {
    const video = study.videos[now.video];
    $("title").textContent = video.video;
    const facts = $("facts");
    facts.replaceChildren();
    const add = (text, strong) => {
      if (facts.childNodes.length) facts.append(" · ");
      facts.append(strong ? make("b", text) : text);
    };
    if (now.event >= 0) {
      add(span(events.start[now.event], events.end[now.event]), true);
      add(`score ${events.peak[now.event].toFixed(2)}`, true);
      const wall = wallClock(video, events.start[now.event]);
      if (wall) add(wall);
      if (study.methods.length > 1) add(study.methods[events.method[now.event]].name);
      const at = found.indexOf(now.event);
      if (at >= 0 && listing === "events") add(`${(at + 1).toLocaleString("en")} of ${found.length.toLocaleString("en")} in the list`);
    }
    if (video.category) add(video.category.replaceAll(";", ", "));
    add([video.split, video.label].filter(Boolean).join(", "));
    let text = details.about || "";
    if (now.event >= 0) {
      const key = `${study.methods[events.method[now.event]].name}|${events.start_frame[now.event]}`;
      text = details.descriptions?.[key] || events.text?.[now.event] || "";
    }
    $("description").textContent = text;
    for (const button of $("verdict").children) {
      button.disabled = now.event < 0;
      button.setAttribute("aria-pressed", String(now.event >= 0 && marks[now.event] === Number(button.dataset.mark)));
    }
    $("zoom-event").disabled = now.event < 0;
  }

  function ofVideo(video) {
    const result = [];
    for (let i = 0; i < events.video.length; i++) if (events.video[i] === video) result.push(i);
    return result;
  }

  function drawTracks() {
    const length = study.videos[now.video].duration;
    $("seek").setAttribute("aria-valuemax", length.toFixed(1));
    const own = ofVideo(now.video);
    const tracks = [];
    const block = (start, end, title) => {
      const node = make("i");
      node.style.left = `${(100 * start) / length}%`;
      node.style.width = `${(100 * (end - start)) / length}%`;
      node.title = title;
      return node;
    };
    study.methods.forEach((method, m) => {
      if (!shownMethods.has(m) || !details.curves[method.name]) return;
      const track = make("div", null, "track");
      for (const i of own) {
        if (events.method[i] !== m) continue;
        const node = block(events.start[i], events.end[i], `${method.name}: ${span(events.start[i], events.end[i])}`);
        node.style.background = colour(m);
        node.dataset.event = i;
        if (i === now.event) node.className = "now";
        track.append(node);
      }
      tracks.push(track);
    });
    if (details.annotated) {
      const track = make("div", null, "track annotated");
      for (const [start, end] of details.annotated) {
        const node = block(start, end, `annotated: ${span(start, end)}`);
        node.className = "hatched";
        track.append(node);
      }
      tracks.push(track);
    }
    if (details.damaged) {
      const track = make("div", null, "track damaged");
      for (const [start, end] of details.damaged) {
        const node = block(start, end, `damaged, not judged: ${span(start, end)}`);
        node.className = "hatched";
        track.append(node);
      }
      tracks.push(track);
    }
    $("tracks").replaceChildren(...tracks);
    drawLegend();
  }

  function drawLegend() {
    const legend = $("legend");
    legend.replaceChildren();
    study.methods.forEach((method, m) => {
      const swatch = make("i", null, "swatch");
      swatch.style.background = colour(m);
      const label = make(study.methods.length > 1 ? "label" : "span", null, "key");
      if (study.methods.length > 1) {
        const box = make("input");
        box.type = "checkbox";
        box.checked = shownMethods.has(m);
        box.disabled = !details.curves[method.name];
        box.addEventListener("change", () => {
          if (box.checked) shownMethods.add(m);
          else shownMethods.delete(m);
          drawTracks();
          drawChart();
        });
        label.append(box);
      }
      label.append(swatch, details.curves[method.name] ? method.name : `${method.name} (no scores)`);
      legend.append(label);
    });
    const key = (className, text, style) => {
      const item = make("span", null, "key");
      const sign = make("i", null, className);
      if (style) sign.style.cssText = style;
      item.append(sign, text);
      legend.append(item);
    };
    if (details.annotated) key("swatch hatched", details.annotated.length ? "annotated" : "annotated: none");
    if (details.damaged) key("swatch hatched damaged", "damaged, not judged");
    key("line", "smoothed score");
    key("line", "raw", "border-top-width:1px;opacity:.55");
    key("line", "threshold", "border-top-style:dashed");
  }

  // --- chart ------------------------------------------------------------------------------------

  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

  function chartData() {
    const shown = study.methods.map((_, m) => m).filter((m) => shownMethods.has(m) && details.curves[study.methods[m].name]);
    const tables = shown.map((m) => details.curves[study.methods[m].name]);
    const data = tables.length ? uPlot.join(tables) : [[0, study.videos[now.video].duration]];
    return { shown, data };
  }

  function drawChart() {
    const { shown, data } = chartData();
    const steps = uPlot.paths.stepped({ align: 1 });
    const series = [{}];
    for (const m of shown) {
      series.push({ stroke: `${colour(m)}88`, width: 1, paths: steps, points: { show: false } });
      series.push({ stroke: colour(m), width: 2, paths: steps, points: { show: false } });
    }
    const font = "12px system-ui, sans-serif";
    const host = $("chart");
    const axis = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--axis"));
    chart?.destroy();
    chart = new uPlot(
      {
        width: host.clientWidth,
        height: host.clientHeight,
        padding: [8, 10, 0, 0],
        legend: { show: false },
        scales: {
          x: { time: false, range: () => view },
          y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(1, high ?? 1)] },
        },
        series,
        axes: [
          { font, incrs: STEPS, values: (_, at) => at.map((s) => clock(s, view[1] - view[0] < 8 ? 1 : 0)), grid: { show: false }, size: 28, stroke: "#57606a" },
          { font, size: axis, splits: () => [0, 0.5, 1], values: (_, at) => at.map((v) => v.toFixed(1)), grid: { stroke: "#eceff2" }, stroke: "#57606a" },
        ],
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 6 }, bind: { dblclick: () => null } },
        hooks: {
          drawClear: [drawBands],
          draw: [(u) => drawThresholds(u, shown), placeLine],
          setSelect: [
            (u) => {
              if (u.select.width < 6) return;
              const [from, to] = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
              u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
              zoomTo(from, to);
              dragged = true;
            },
          ],
        },
      },
      data,
      host,
    );
    chart.over.append(make("div", null, "playhead"));
    let pressed = 0;
    let dragged = false;
    chart.over.addEventListener("pointerdown", (event) => { pressed = event.clientX; dragged = false; });
    chart.over.addEventListener("click", (event) => {
      if (dragged || Math.abs(event.clientX - pressed) > 5) return;
      seek(chart.posToVal(event.offsetX, "x"));
    });
    chart.over.addEventListener("dblclick", () => zoomTo(0, Infinity));
    chart.over.addEventListener("pointermove", (event) => tip(event, chart.posToVal(event.clientX - chart.over.getBoundingClientRect().left, "x")));
    chart.over.addEventListener("pointerleave", hideTip);
    chart.over.addEventListener("wheel", (event) => {
      event.preventDefault();
      const at = chart.posToVal(event.offsetX, "x");
      const by = event.deltaY < 0 ? 0.8 : 1.25;
      zoomTo(at - (at - view[0]) * by, at + (view[1] - at) * by);
    }, { passive: false });
    showWindow();
  }

  function drawBands(u) {
    const { ctx } = u;
    const { top, height, left, width } = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    const edges = (start, end) => [u.valToPos(start, "x", true), u.valToPos(end, "x", true)];
    for (const i of ofVideo(now.video)) {
      if (!shownMethods.has(events.method[i])) continue;
      const [from, to] = edges(events.start[i], events.end[i]);
      ctx.fillStyle = `${colour(events.method[i])}${i === now.event ? "38" : "1c"}`;
      ctx.fillRect(from, top, Math.max(1, to - from), height);
    }
    ctx.restore();
  }

  function drawThresholds(u, shown) {
    const { ctx } = u;
    const { left, width } = u.bbox;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "right";
    ctx.lineWidth = ratio;
    shown.forEach((m, place) => {
      const { name, tau } = study.methods[m];
      // [second, threshold]: of the camera, and of each hour of the day.
      const steps = details.hourly?.[name] ?? [[0, details.taus?.[name] ?? tau]];
      const right = left + width;
      const startOf = (i) => (i === 0 ? left : i < steps.length ? Math.min(right, Math.max(left, u.valToPos(steps[i][0], "x", true))) : right);
      let y, value;
      ctx.strokeStyle = colour(m);
      ctx.setLineDash([6 * ratio, 4 * ratio]);
      ctx.beginPath();
      steps.forEach(([, height], i) => {
        if (startOf(i) === right && i) return;
        value = height;
        y = u.valToPos(height, "y", true);
        ctx.lineTo(startOf(i), y);
        ctx.lineTo(startOf(i + 1), y);
      });
      ctx.stroke();
      // Side by side, so that near thresholds do not hide each other's label.
      const at = [`τ ${value.toFixed(2)}`, left + width - (5 + 50 * place) * ratio, y - 4 * ratio];
      ctx.setLineDash([]);
      ctx.strokeStyle = "#ffffff";
      ctx.lineWidth = 3 * ratio;
      ctx.strokeText(...at);
      ctx.lineWidth = ratio;
      ctx.fillStyle = colour(m);
      ctx.fillText(...at);
    });
    ctx.restore();
  }

  function zoomTo(from, to) {
    const length = study.videos[now.video].duration;
    from = Math.max(0, from);
    to = Math.min(length, to);
    const least = Math.min(1, length);
    if (to - from < least) {
      const middle = (from + to) / 2;
      from = Math.min(Math.max(0, middle - least / 2), length - least);
      to = from + least;
    }
    view = [from, to];
    if (chart) {
      chart.setScale("x", { min: from, max: to });
      showWindow();
    }
  }

  function scaleView(by) {
    const middle = position > view[0] && position < view[1] ? position : (view[0] + view[1]) / 2;
    zoomTo(middle - (middle - view[0]) * by, middle + (view[1] - middle) * by);
  }

  function zoomEvent() {
    const { start, end } = interval();
    const around = Math.max(2, (end - start) / 2);
    if (now.event >= 0) zoomTo(start - around, end + around);
  }

  function showWindow() {
    const length = study.videos[now.video].duration;
    const whole = view[0] <= 0 && view[1] >= length;
    $("window").hidden = whole;
    $("window").style.left = `${(100 * view[0]) / length}%`;
    $("window").style.width = `${(100 * (view[1] - view[0])) / length}%`;
  }

  // --- seek bar and what hovers over it ---------------------------------------------------------

  function seekTime(event) {
    const box = $("seek").getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * study.videos[now.video].duration;
  }
  let seeking = false;
  $("seek").addEventListener("pointerdown", (event) => {
    seeking = true;
    $("seek").setPointerCapture(event.pointerId);
    seek(seekTime(event));
  });
  $("seek").addEventListener("pointermove", (event) => {
    const at = seekTime(event);
    if (seeking) seek(at);
    tip(event, at);
    if (chart && at >= view[0] && at <= view[1]) chart.setCursor({ left: chart.valToPos(at, "x"), top: 0 });
  });
  for (const type of ["pointerup", "pointercancel"]) $("seek").addEventListener(type, () => (seeking = false));
  $("seek").addEventListener("pointerleave", () => {
    hideTip();
    chart?.setCursor({ left: -10, top: -10 });
  });

  function scoreAt(curve, seconds) {
    const times = curve[0];
    let low = 0;
    let high = times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (times[middle] <= seconds) low = middle;
      else high = middle - 1;
    }
    return curve[2][low];
  }

  function tip(event, seconds) {
    if (!details) return;
    const lines = [clock(seconds, 1)];
    for (const m of shownMethods) {
      const curve = details.curves[study.methods[m].name];
      const score = curve && scoreAt(curve, seconds);
      if (typeof score === "number") lines.push(study.methods.length > 1 ? `${study.methods[m].name} ${score.toFixed(2)}` : score.toFixed(2));
    }
    $("tip-text").textContent = lines.join("  ·  ");
    const at = details.thumbnails;
    $("tip-picture").hidden = !at.length;
    if (at.length) {
      let nearest = 0;
      at.forEach((t, i) => { if (Math.abs(t - seconds) < Math.abs(at[nearest] - seconds)) nearest = i; });
      showTile($("tip-picture"), now.video, nearest, 200, 150);
    }
    const box = $("tip");
    box.hidden = false;
    const anchor = $("seek").getBoundingClientRect();
    box.style.left = `${Math.min(innerWidth - box.offsetWidth - 4, Math.max(4, event.clientX - box.offsetWidth / 2))}px`;
    box.style.top = `${Math.max(4, anchor.top - box.offsetHeight - 8)}px`;
  }
  const hideTip = () => ($("tip").hidden = true);

  // --- marks ------------------------------------------------------------------------------------

  const storeName = () => `hhvad-marks:${study.study}`;
  const markKey = (i) =>
    `${study.videos[events.video[i]].key}|${study.methods[events.method[i]].name}|${events.start_frame[i]}-${events.end_frame[i]}`;

  function readMarks() {
    marks = new Uint8Array(events.video.length);
    try {
      store = JSON.parse(localStorage.getItem(storeName())) || {};
    } catch {
      store = {};
    }
    const left = new Map(Object.entries(store));
    if (left.size) {
      for (let i = 0; i < marks.length; i++) {
        const key = markKey(i);
        if (!left.has(key)) continue;
        marks[i] = MARKS[left.get(key)] ? left.get(key) : 0;
        left.delete(key);
      }
    }
    const videos = new Map(study.videos.map((v) => [v.key, v.video]));
    lost = [...left].flatMap(([key, mark]) => {
      const [file, method, frames] = key.split("|");
      return videos.has(file) && MARKS[mark] ? [{ video: videos.get(file), method, frames: frames.split("-"), mark }] : [];
    });
    countMarks();
  }

  function setMark(mark) {
    if (now.event < 0) return;
    const i = now.event;
    marks[i] = marks[i] === mark ? 0 : mark;
    if (marks[i]) store[markKey(i)] = marks[i];
    else delete store[markKey(i)];
    markedVideos = null;
    try {
      localStorage.setItem(storeName(), JSON.stringify(store));
      toast(marks[i] ? `Marked ${MARKS[marks[i]]}. n: next event` : "Mark removed.");
    } catch {
      toast("This browser does not keep marks: export them before you close the page.");
    }
    describe();
    countMarks();
    for (const row of pool) if (row.wanted && row.item === i) fillRow(row, row.at);
    drawPictures();
  }

  function countMarks() {
    const counts = [0, 0, 0, 0];
    for (const mark of marks) counts[mark]++;
    const done = counts[1] + counts[2] + counts[3];
    const parts = [1, 2, 3].filter((m) => counts[m]).map((m) => `${counts[m]} ${MARKS[m]}`);
    let text = done ? `${many(done, "event")} reviewed: ${parts.join(", ")}` : "No event reviewed yet";
    if (lost.length) text += `; ${many(lost.length, "mark")} of events no longer found`;
    $("marks-count").textContent = text;
    $("export").disabled = !done && !lost.length;
  }

  // All events of a video and method with a mark: add-marks must know whether one is undecided.
  function marksTable() {
    const touched = new Set();
    for (let i = 0; i < marks.length; i++) if (marks[i]) touched.add(`${events.video[i]}|${events.method[i]}`);
    const lines = [["video", "method", "start_frame", "end_frame", "start_seconds", "end_seconds", "peak_score", "mark"]];
    for (const i of ordered("time")) {
      if (!touched.has(`${events.video[i]}|${events.method[i]}`)) continue;
      lines.push([
        study.videos[events.video[i]].video, study.methods[events.method[i]].name, events.start_frame[i], events.end_frame[i],
        events.start[i], events.end[i], events.peak[i], MARKS[marks[i]],
      ]);
    }
    for (const one of lost) lines.push([one.video, one.method, ...one.frames, "", "", "", MARKS[one.mark]]);
    return `${lines.map((line) => line.join("\t")).join("\n")}\n`;
  }

  $("export").addEventListener("click", () => {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([marksTable()], { type: "text/tab-separated-values" }));
    link.download = `marks-${study.study.replace(/[^\w.-]+/g, "_")}.tsv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    toast("Saved. hhvad add-marks turns it into rows of the sheet.");
  });

  // --- metrics ----------------------------------------------------------------------------------

  let metricsLoaded = false;
  async function showMetrics() {
    if (metricsLoaded) return;
    metricsLoaded = true;
    try {
      drawMetrics(await load("metrics", "", "data/metrics.js"));
    } catch (error) {
      metricsLoaded = false;
      $("metrics").replaceChildren(make("p", error.message));
    }
  }

  const number = (value) => (typeof value !== "number" ? "–" : Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(3));
  const withInterval = (metric) =>
    !metric || metric.value === null ? "–"
      : typeof metric.low === "number" ? `${number(metric.value)} (${number(metric.low)} – ${number(metric.high)})` : number(metric.value);
  const NAMES = {
    auc: "AUC", ap_step: "AP (steps)", ap_trapezoid: "AP (trapezoid)", auc_abnormal: "AUC, abnormal videos",
    ap_step_abnormal: "AP (steps), abnormal videos", ap_trapezoid_abnormal: "AP (trapezoid), abnormal videos",
    video_auc: "AUC of videos", latency_ap: "latency-aware AP", best_f1: "best F1", f1_at_tau: "F1 at τ", event_map: "mAP of events", rss: "RSS",
    detection_delay_frames: "delay, frames", detection_delay_seconds: "delay, seconds",
  };
  const title = (name) => NAMES[name] || name.replace("event_ap_", "AP of events, IoU ").replaceAll("_", " ");

  function table(headings, rows, classes = []) {
    const node = make("table");
    const head = node.createTHead().insertRow();
    headings.forEach((heading, i) => head.append(make("th", heading, classes[i])));
    const body = node.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      if (row.className) line.className = row.className;
      (row.cells || row).forEach((cell, i) => {
        const place = line.insertCell();
        if (classes[i]) place.className = classes[i];
        place.append(cell instanceof Node ? cell : String(cell ?? ""));
      });
    }
    const box = make("div", null, "scroll");
    box.append(node);
    return box;
  }

  function intervalBar(metric) {
    if (!metric || typeof metric.value !== "number" || metric.value < 0 || metric.value > 1) return "";
    const bar = make("span", null, "span");
    if (typeof metric.low === "number") {
      const reach = make("i");
      reach.style.left = `${100 * metric.low}%`;
      reach.style.width = `${100 * (metric.high - metric.low)}%`;
      bar.append(reach);
    }
    const point = make("b");
    point.style.left = `${100 * metric.value}%`;
    bar.append(point);
    return bar;
  }

  function drawMetrics(data) {
    const page = [];
    const judged = Object.entries(data.methods).filter(([, m]) => m.result);
    if (!judged.length) {
      const section = make("section");
      section.append(make("h2", "No metrics"), make("p", "No test video of the sheet has a label and events, so there is nothing to compare scores with. Fill its columns label and events, or review events here and hand the marks to hhvad add-marks."));
      page.push(section);
    }
    if (judged.length > 1) {
      const section = make("section");
      const names = ["auc", "ap_step", "ap_trapezoid", "auc_abnormal", "video_auc", "f1_at_tau", "event_recall", "false_alarm_rate", "event_map"];
      section.append(
        make("h2", "Comparison"),
        make("p", "Values with their 95 % intervals over the videos. What tells two methods apart is the interval of their difference, below."),
        table(
          ["metric", ...judged.map(([name]) => name)],
          names.map((n) => [title(n), ...judged.map(([, m]) => withInterval(m.result.metrics[n]))]),
          ["", ...judged.map(() => "number")],
        ),
      );
      if (data.comparison) section.append(...comparisonNodes(data.comparison));
      page.push(section);
    }
    for (const [name, method] of Object.entries(data.methods)) page.push(methodSection(name, method, data.meanings));
    $("metrics").replaceChildren(...page);
  }

  function comparisonNodes(comparison) {
    const signed = (value) => (typeof value === "number" ? `${value > 0 ? "+" : ""}${value.toFixed(3)}` : "–");
    const span = (low, high) => (typeof low === "number" ? `${signed(low)} – ${signed(high)}` : "–");
    const verdict = (one) => (one.told_apart === null ? "no interval"
      : !one.told_apart ? "not told apart" : `${one.difference > 0 ? one.a : one.b} is higher`);
    const nodes = [
      make("h3", "Differences"),
      make("p", `${comparison.correction}.`),
      table(
        ["metric", "methods", "difference", "95 % interval", "corrected", ""],
        comparison.differences.map((one) => [
          title(one.metric), `${one.a} − ${one.b}`, signed(one.difference),
          span(one.low, one.high), span(one.low_corrected, one.high_corrected), verdict(one),
        ]),
        ["", "", "number", "number", "number", ""],
      ),
    ];
    if (comparison.costs) nodes.push(...costNodes(comparison.costs));
    const words = {
      curves: ["Curves", "ROC and precision-recall curves of all methods"],
      videos: ["Videos", "Videos by methods: where they disagree"],
    };
    for (const [name, source] of Object.entries(comparison.pictures)) {
      const picture = make("img");
      picture.src = source;
      picture.alt = words[name][1];
      nodes.push(make("h3", words[name][0]), picture);
    }
    return nodes;
  }

  // What each method needed and took, a row each.
  function costNodes(costs) {
    const words = ["labels", "training", "wordings"];
    const numbers = ["setup_seconds", "test_seconds", "real_time", "model_seconds", "model_calls", "tokens"];
    const shown = (key) => key.replaceAll("_", " ");
    return [
      make("h3", "Costs"),
      make("p", costs.note),
      table(
        ["", ...words, ...numbers].map(shown),
        costs.methods.map((one) => [
          one.method,
          ...words.map((key) => one[key] || "none"),
          ...numbers.map((key) => one[key].toLocaleString("en")),
        ]),
        ["", ...words.map(() => ""), ...numbers.map(() => "number")],
      ),
      make("p", `${[...words, ...numbers].map((key) => `${shown(key)}: ${costs.meanings[key]}`).join("; ")}.`),
    ];
  }

  function methodSection(name, method, meanings) {
    const section = make("section");
    const add = (heading, ...nodes) => section.append(make("h3", heading), ...nodes);
    const found = method.locator;
    section.append(
      make("h2", name),
      make("p", `Smoothing σ ${found.sigma} segments, threshold τ ${number(found.tau)}, ${method.cameras ? found.how : found.calibrated ? `calibrated on validation videos (F1 ${number(found.f1)})` : "fixed values, not calibrated"}.`),
    );
    if (method.cameras) add("Thresholds of cameras", table(["camera", "threshold"], method.cameras, ["", "meaning"]));
    const result = method.result;
    if (result) {
      const { videos, frames, events: counted } = result;
      section.append(make("p", `${many(videos.labelled, "labelled video")}, ${videos.anomaly} of them anomalous; ${frames.anomalous.toLocaleString("en")} of ${many(frames.scored, "frame")} anomalous; ${many(counted.annotated, "annotated event")}, ${counted.detected ?? "–"} detected.`));
      add(
        "Metrics",
        table(
          ["metric", "value", "95 % interval", "", "meaning"],
          Object.entries(result.metrics).map(([key, m]) => [
            title(key), number(m.value), typeof m.low === "number" ? `${number(m.low)} – ${number(m.high)}` : "–", /delay|per_hour/.test(key) ? "" : intervalBar(m), m.reason ? `undefined: ${m.reason}` : meanings[key] || "",
          ]),
          ["", "number", "number", "interval-bar", "meaning"],
        ),
      );
      const columns = ["auc", "ap_step", "ap_trapezoid", "auc_abnormal", "ap_step_abnormal"];
      const rows = [{ cells: [name, ...columns.map((c) => number(result.metrics[c]?.value)), "the method"], className: "ours" }];
      if (result.raw) rows.push([`${name}, raw`, ...columns.map((c) => number(result.raw[c])), "before smoothing"]);
      for (const one of result.baselines || []) rows.push([one.name, ...columns.map((c) => number(one[c])), one.meaning]);
      add("Beside baselines that look at no frame", table(["", ...columns.map(title), ""], rows, ["", ...columns.map(() => "number"), "meaning"]));
      const categories = Object.entries(result.categories || {});
      if (categories.length) {
        add("By category", table(
          ["category", "videos", "AUC", "AP (steps)", "AUC, abnormal videos"],
          categories.map(([c, m]) => [c, m.videos, withInterval(m.auc), withInterval(m.ap_step), withInterval(m.auc_abnormal)]),
          ["", "number", "number", "number", "number"],
        ));
      }
      if (result.published?.length) {
        const keys = Object.keys(result.published[0]);
        add("Published", table(keys.map(title), result.published.map((row) => keys.map((k) => (typeof row[k] === "number" ? number(row[k]) : row[k])))));
      }
      const left = Object.entries(result.left_out || {});
      const notes = [...(result.notes || []), ...left.map(([why, one]) => `left out, ${why}: ${one.count}`)];
      if (notes.length) {
        const list = make("ul");
        for (const note of notes) list.append(make("li", note));
        add("Notes", list);
      }
    }
    if (method.experts?.length) {
      const keys = Object.keys(method.experts[0]);
      const text = (value) => (value !== "" && /\./.test(value) && Number.isFinite(Number(value)) ? number(Number(value)) : value);
      add("Expert heads", table(keys.map(title), method.experts.map((row) => keys.map((k) => text(row[k]))), keys.map(() => "number")));
    }
    if (method.rss) {
      const picture = make("img");
      picture.src = method.rss;
      picture.alt = `Robust saliency of every head, ${name}`;
      add("Robust saliency of every head", picture);
    }
    return section;
  }

  // --- wiring -----------------------------------------------------------------------------------

  function show(tab) {
    for (const name of ["events", "videos", "metrics"]) $(`tab-${name}`).setAttribute("aria-selected", String(name === tab));
    $("review").hidden = tab === "metrics";
    $("metrics").hidden = tab !== "metrics";
    document.body.classList.remove("playing");
    if (tab === "metrics") {
      player.pause();
      showMetrics();
      return;
    }
    if (listing !== tab) {
      listing = tab;
      $("list").setAttribute("aria-label", tab === "events" ? "Events" : "Videos");
      filter();
    } else draw(true);
  }

  function step(by) {
    const current = listing === "events" ? now.event : now.video;
    let at = found.indexOf(current);
    if (at < 0) at = by > 0 ? -1 : found.length;
    const next = at + by;
    if (next < 0 || next >= found.length) {
      toast(by > 0 ? "This is the end of the list." : "This is the start of the list.");
      return;
    }
    reveal(next);
    choose(found[next]);
  }

  // Runs of frames that are shown equally long: number and time of the first, seconds of each.
  function frameRuns({ start, unit, steps }) {
    let frame = 0, at = start;
    return steps.split(" ").map((run) => {
      const [length, count = 1] = run.split("*").map(Number);
      const first = { frame, at, count, each: length * unit };
      frame += count;
      at += count * length * unit;
      return first;
    });
  }

  // The middle of the frame that is `by` frames behind the one shown at a time: at its start,
  // rounding could show its neighbour.
  function frameMiddle(runs, time, by) {
    const here = runs.findLast((run) => run.at <= time + 1e-6) ?? runs[0];
    const inside = Math.floor((time + 1e-6 - here.at) / here.each);
    const frame = here.frame + Math.min(Math.max(inside, 0), here.count - 1) + by;
    const run = runs.findLast((one) => one.frame <= frame) ?? runs[0];
    const last = run.count - 1;
    return run.at + (Math.min(Math.max(frame - run.frame, 0), last) + 0.5) * run.each;
  }

  function stepFrame(by) {
    player.pause();
    details.runs ??= frameRuns(details.times);
    seek(frameMiddle(details.runs, player.currentTime, by));
  }

  const KEYS = {
    n: () => step(1), j: () => step(1), p: () => step(-1), k: () => step(-1),
    t: () => setMark(1), f: () => setMark(2), u: () => setMark(3),
    z: zoomEvent, "+": () => scaleView(0.5), "=": () => scaleView(0.5), "-": () => scaleView(2), 0: () => zoomTo(0, Infinity),
    "/": () => $("search").focus(),
    "?": () => $("help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open || $("review").hidden) return;
    if (event.key === "Escape") {
      if (document.activeElement === $("search")) $("search").blur();
      else document.body.classList.remove("playing");
      return;
    }
    const writing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (writing) return;
    const open = now.video >= 0 && details;
    let act = null;
    if (event.key === " ") act = event.target.tagName === "BUTTON" && event.target.id !== "play" ? null : open && toggle;
    else if (event.key === "ArrowLeft") act = open && (() => (event.shiftKey ? stepFrame(-1) : seek(position - 2)));
    else if (event.key === "ArrowRight") act = open && (() => (event.shiftKey ? stepFrame(1) : seek(position + 2)));
    else if (event.key === "ArrowDown" && event.target === $("list")) act = () => step(1);
    else if (event.key === "ArrowUp" && event.target === $("list")) act = () => step(-1);
    else if (event.key in KEYS && (open || "nj/?".includes(event.key))) act = KEYS[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  let typing;
  $("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(filter, 40);
  });
  for (const id of ["by-method", "by-category", "by-split", "by-mark", "by-score", "order"]) $(id).addEventListener("input", filter);
  $("by-method").addEventListener("input", () => {
    const method = $("by-method").value;
    shownMethods = new Set(method === "all" ? study.methods.keys() : [Number(method), ...shownMethods]);
    if (details) {
      drawTracks();
      drawChart();
    }
  });
  $("more").addEventListener("click", () => $("more").setAttribute("aria-expanded", String($("more").getAttribute("aria-expanded") !== "true")));
  $("list").addEventListener("scroll", () => requestAnimationFrame(() => draw(false)), { passive: true });
  $("rows").addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) choose(row.item);
  });
  for (const name of ["events", "videos", "metrics"]) $(`tab-${name}`).addEventListener("click", () => show(name));
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("back").addEventListener("click", () => {
    player.pause();
    document.body.classList.remove("playing");
    draw(true);
  });
  $("play").addEventListener("click", toggle);
  $("next").addEventListener("click", () => step(1));
  $("previous").addEventListener("click", () => step(-1));
  $("speed").addEventListener("input", () => (player.playbackRate = Number($("speed").value)));
  $("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : $("screen").requestFullscreen?.()));
  for (const button of $("verdict").children) button.addEventListener("click", () => setMark(Number(button.dataset.mark)));
  $("zoom-in").addEventListener("click", () => scaleView(0.5));
  $("zoom-out").addEventListener("click", () => scaleView(2));
  $("zoom-event").addEventListener("click", zoomEvent);
  $("zoom-all").addEventListener("click", () => zoomTo(0, Infinity));
  new ResizeObserver(() => {
    if (study) draw(false);
    if (chart && $("chart").clientWidth) {
      chart.setSize({ width: $("chart").clientWidth, height: $("chart").clientHeight });
    }
  }).observe($("review"));

  load("study", "", "data/study.js").then(
    (loaded) => {
      study = loaded;
      events = study.events;
      shownMethods = new Set([0]);
      if (!study.videos.some((v) => v.sprite)) $("list").classList.add("no-pictures");
      const missing = study.sheet_videos - study.videos.length;
      $("summary").textContent =
        `${many(events.video.length, "event")} in ${many(study.videos.length, "video")}` + (missing ? `; ${missing.toLocaleString("en")} of the sheet without scores` : "");
      prepareFilters();
      readMarks();
      filter();
      document.body.classList.remove("loading");
    },
    (error) => {
      $("empty").hidden = false;
      $("empty").textContent = error.message;
    },
  );
})();
