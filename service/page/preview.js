// The preview: each camera's covered picture (HLS, played through Media Source Extensions) and its figures.
"use strict";
const TYPE = 'video/mp4; codecs="avc1.64001f"';
const KEEP_S = 10;

function figures(camera) {
  const latency = camera.latency_s || {};
  const ms = (value) => (value == null ? "–" : Math.round(value * 1000) + " ms");
  const listed = (counts) => Object.entries(counts || {}).map(([k, v]) => k + " " + v).join(", ") || "none";
  return [
    ["state", camera.state + (camera.told ? ": " + camera.told : "")],
    ["pictures a second", camera.fps ?? "–"],
    ["latency p50, p95, p99", [latency.p50, latency.p95, latency.p99].map(ms).join(", ")],
    ["faces now", camera.faces ?? "–"],
    ["slates", listed(camera.slates)],
    ["reconnects", Math.max(0, (camera.connections ?? 0) - 1)],
    ["restarts", camera.restarts],
    ["frames by fate", listed(camera.ledger)],
    ["load", camera.level ?? "–"],
    ["alarm", camera.alarm ? camera.error : "no"],
  ];
}

function show(table, camera) {
  table.replaceChildren(...figures(camera).map(([name, value]) => {
    const row = document.createElement("tr");
    for (const text of [name, value]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    if (name === "alarm" && camera.alarm) row.className = "alarm";
    return row;
  }));
}

class Player {
  constructor(video, base) {
    this.video = video; this.base = base; this.seen = new Set(); this.map = null; this.busy = false;
    this.media = new MediaSource();
    video.src = URL.createObjectURL(this.media);
    this.media.addEventListener("sourceopen", () => {
      this.buffer = this.media.addSourceBuffer(TYPE);
      this.buffer.mode = "sequence";
    }, { once: true });
  }

  async append(name) {
    const answer = await fetch(this.base + name);
    if (!answer.ok) throw new Error(name);
    this.buffer.appendBuffer(await answer.arrayBuffer());
    await new Promise((done) => this.buffer.addEventListener("updateend", done, { once: true }));
  }

  async step() {
    if (this.busy || !this.buffer) return;
    this.busy = true;
    try {
      const text = await (await fetch(this.base + "live.m3u8")).text();
      for (const line of text.split("\n")) {
        const map = /^#EXT-X-MAP:URI="([^"]+)"/.exec(line);
        if (map) {
          if (map[1] !== this.map || this.renewed) { await this.append(map[1]); this.map = map[1]; this.renewed = false; }
        } else if (line && !line.startsWith("#") && !this.seen.has(line)) {
          this.seen.add(line);
          await this.append(line);
        }
      }
      const range = this.video.buffered;
      if (range.length) {
        const end = range.end(range.length - 1);
        if (end - this.video.currentTime > 3 || this.video.currentTime < range.start(range.length - 1)) this.video.currentTime = end - 1;
        if (end - range.start(0) > 3 * KEEP_S) this.buffer.remove(0, end - KEEP_S);
        await this.video.play().catch(() => {});
      }
    } catch (error) {
      this.renewed = true;  // the camera's process was replaced, perhaps: its first piece is needed again
    } finally {
      this.busy = false;
    }
  }
}

const known = new Map();

function added(camera) {
  const section = document.createElement("section");
  const video = document.createElement("video");
  const part = document.createElement("div");
  const title = document.createElement("h2");
  const table = document.createElement("table");
  title.textContent = camera.name;
  Object.assign(video, { muted: true, autoplay: true, playsInline: true });
  part.append(title, table);
  section.append(video, part);
  document.getElementById("cameras").append(section);
  return { section, table, player: new Player(video, "hls/" + encodeURIComponent(camera.name) + "/") };
}

async function refresh() {
  const cameras = await (await fetch("status")).json();
  for (const camera of cameras) {
    if (!known.has(camera.name)) known.set(camera.name, added(camera));
    const { table, player } = known.get(camera.name);
    show(table, camera);
    player.step();
    const { videoWidth, videoHeight, currentTime } = player.video;
    player.video.title = `${videoWidth} x ${videoHeight}, ${currentTime.toFixed(1)} s`;
  }
  for (const [name, { section }] of known) {
    if (!cameras.some((camera) => camera.name === name)) { section.remove(); known.delete(name); }
  }
}

setInterval(() => refresh().catch(() => {}), 500);
