// A server that plays the Hugging Face hub, with its habits: redirects (307 on the same host, 302 to a signed address that expires), CORS
// headers, ranges, rate limits, ids without an owner. And a plain server of files, as a school may have. One https server with a
// certificate made for the occasion; Chromium is told to go there for the hub's names.
import { execFileSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";

const HUB = "huggingface.co";
const CDN = "us.aws.cdn.hf.co";
export const SCHOOL = "models.school.example";
/** Files larger than this are "LFS": they have a sha256 and come from the CDN. */
const LARGE = 64 << 10;
const EXPOSED = "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,Accept-Ranges,Content-Range,"
  + "X-Linked-Size,X-Linked-ETag,X-Xet-Hash";

const digest = (kind, ...parts) => parts.reduce((hash, part) => hash.update(part), createHash(kind)).digest("hex");

/** A folder's files, by name. */
export const folder = (path) => new Map(readdirSync(path).map((name) => [name, readFileSync(join(path, name))]));

/** The same model with its safetensors file in two shards. */
export function sharded(files) {
  const whole = files.get("model.safetensors");
  const size = Number(whole.readBigUInt64LE());
  const header = Object.entries(JSON.parse(whole.subarray(8, 8 + size))).filter(([name]) => name !== "__metadata__");
  const out = new Map([...files].filter(([name]) => name !== "model.safetensors"));
  const map = {};
  [header.slice(0, header.length >> 1), header.slice(header.length >> 1)].forEach((part, at) => {
    const name = `model-0000${at + 1}-of-00002.safetensors`;
    const tensors = {};
    const bytes = [];
    let end = 0;
    for (const [tensor, { dtype, shape, data_offsets: [from, to] }] of part) {
      tensors[tensor] = { dtype, shape, data_offsets: [end, end += to - from] };
      bytes.push(whole.subarray(8 + size + from, 8 + size + to));
      map[tensor] = name;
    }
    const json = Buffer.from(JSON.stringify(tensors));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    out.set(name, Buffer.concat([length, json, ...bytes]));
  });
  out.set("model.safetensors.index.json", Buffer.from(JSON.stringify({ weight_map: map })));
  return out;
}

/**
 * Starts the servers. `repos`: id → files, of the hub; `aliases`: old id → id; `school`: path → files.
 * `hub.fault(file, host)` may return `{status, headers}`, `{cut}` (the connection breaks after so many bytes of this answer), `{hold}` (a
 * promise after which it goes on, in the middle), `{ranges: false}`, `{short}` (the file has only so many bytes),
 * `{bytes}` (other content), `{pace}` (milliseconds for each 256 kB), `{down}` (no answer).
 * `hub.sent` has, per file, the ranges that were sent as `[from, to]`; `hub.asked` every request.
 */
export async function startHub({ repos, aliases = {}, school = {} }) {
  const place = mkdtempSync(join(tmpdir(), "hub-"));
  const [key, cert] = [join(place, "key.pem"), join(place, "cert.pem")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
    "-subj", `/CN=${HUB}`], { stdio: "ignore" });
  const hub = { fault: () => undefined, sent: new Map(), asked: [], preflights: 0 };
  const signed = new Map();
  const commit = (id) => digest("sha1", id, ...[...repos[id]].flat());

  const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
    const url = new URL(request.url, `https://${request.headers.host}`);
    const host = request.headers.host.split(":")[0];
    const path = decodeURIComponent(url.pathname);
    hub.asked.push(`${host}${path}`);
    const cors = host === HUB
      ? { "access-control-allow-origin": request.headers.origin ?? "*", "access-control-expose-headers": EXPOSED, vary: "Origin" }
      : { "access-control-allow-origin": "*" };
    const answer = (status, headers = {}, body = "") => response.writeHead(status, { ...cors, ...headers }).end(body);
    const json = (value) => answer(200, { "content-type": "application/json" }, JSON.stringify(value));
    if (request.method !== "GET") {
      hub.preflights += 1;
      return answer(403);
    }
    const file = path.split("/").at(-1);
    const fault = hub.fault(file, host, path) ?? {};
    if (fault.down) return request.socket.destroy();
    if (fault.status) return answer(fault.status, fault.headers, "no");

    if (host === HUB) {
      const [, api, alias, what, rest] = /^(\/api\/models)?\/((?:[\w.-]+\/)?[\w.-]+)\/(revision|tree|resolve)\/(.*)$/.exec(path) ?? [];
      const cached = /^\/api\/resolve-cache\/(.+?)\/([0-9a-f]{40})\/([^/]+)$/.exec(path);
      if (cached) return send(request, response, cors, cached[3], repos[cached[1]].get(cached[3]), fault);
      if (aliases[alias]) return answer(307, { location: path.replace(alias, aliases[alias]) });
      const files = repos[alias];
      if (!files) return answer(401, { "x-error-code": "RepoNotFound" }, "Invalid username or password.");
      const sha = commit(alias);
      const revision = rest.split("/")[0];
      if (revision !== "main" && revision !== sha) return answer(404, { "x-error-code": "RevisionNotFound" });
      if (api && what === "revision") return json({ id: alias, sha, siblings: [...files.keys()].map((rfilename) => ({ rfilename })) });
      if (api && what === "tree") {
        return json([...files].map(([path, bytes]) => ({
          type: "file", path, size: bytes.length, oid: digest("sha1", `blob ${bytes.length}\0`, bytes),
          ...(bytes.length > LARGE ? { lfs: { oid: digest("sha256", bytes), size: bytes.length, pointerSize: 135 } } : {}),
        })));
      }
      const bytes = files.get(file);
      if (!bytes) return answer(404, { "x-error-code": "EntryNotFound" });
      const headers = { "x-repo-commit": sha, etag: `"${digest("sha1", bytes)}"` };
      if (bytes.length <= LARGE) return answer(307, { ...headers, location: `/api/resolve-cache/${alias}/${sha}/${file}` });
      const signature = randomUUID();
      signed.set(signature, { bytes, file, until: Date.now() + 20_000 });
      return answer(302, { ...headers, "x-linked-size": bytes.length, "x-linked-etag": `"${digest("sha256", bytes)}"`,
        location: `https://${CDN}/xet-bridge-us/${file}?Expires=20&Signature=${signature}` });
    }
    if (host === CDN) {
      const found = signed.get(url.searchParams.get("Signature"));
      if (!found || found.until < Date.now()) return answer(403, {}, "expired");
      return send(request, response, cors, found.file, found.bytes, fault);
    }
    const bytes = school[path.slice(1, path.lastIndexOf("/"))]?.get(file);
    if (!bytes) return answer(404);
    return send(request, response, { ...cors, "access-control-expose-headers": "Content-Range" }, file, bytes, fault);
  });

  /** A file or a range of it, with the fault of this answer. */
  async function send(request, response, headers, file, whole, fault) {
    const bytes = (fault.bytes ?? whole).subarray(0, fault.short ?? whole.length);
    const range = fault.ranges === false ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const from = range ? Number(range[1]) : 0;
    const end = range?.[2] ? Math.min(Number(range[2]) + 1, bytes.length) : bytes.length;
    if (range && from >= bytes.length) {
      return response.writeHead(416, { ...headers, "content-range": `bytes */${bytes.length}` }).end();
    }
    const more = range ? { "content-range": `bytes ${from}-${end - 1}/${bytes.length}` } : {};
    response.writeHead(range ? 206 : 200, { ...headers, ...more, "content-length": end - from, etag: `"${randomUUID()}"` });
    const stop = Math.min(from + (fault.cut ?? Infinity), end);
    const note = [from, from];
    hub.sent.set(file, [...hub.sent.get(file) ?? [], note]);
    for (let at = from; at < stop && !response.destroyed;) {
      const part = bytes.subarray(at, Math.min(at + (256 << 10), stop));
      await new Promise((done) => response.write(part, done));
      note[1] = at += part.length;
      if (fault.pace) await new Promise((done) => setTimeout(done, fault.pace));
    }
    await fault.hold;
    if (stop === end) return response.end();
    // The client is to read what was sent before the connection breaks.
    return setTimeout(() => response.destroy(), 500);
  }

  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const to = `127.0.0.1:${server.address().port}`;
  const names = [HUB, CDN, SCHOOL].map((name) => `MAP ${name} ${to}`).join(", ");
  return Object.assign(hub, {
    flags: [`--host-resolver-rules=${names}`, "--ignore-certificate-errors"],
    commit,
    /** Forgets what was sent and asked, and all faults. */
    reset() {
      Object.assign(hub, { fault: () => undefined, sent: new Map(), asked: [], preflights: 0 });
    },
    async close() {
      rmSync(place, { recursive: true });
      await new Promise((done) => { server.close(done); server.closeAllConnections(); });
    },
  });
}
