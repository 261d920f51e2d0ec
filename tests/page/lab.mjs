// What parity, effect and bench share: the native command line, and the gestures at the page that all of them begin with.
// What is compared, and what it must be, is theirs.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { root } from "./harness.mjs";

/** The native command line, built by `cargo build --release`; DETOX_LAB names another one. */
export const native = resolve(process.env.DETOX_LAB ?? join(root, process.env.CARGO_TARGET_DIR ?? "target", "release/detox-lab"));

/** Longest waits, for a machine that is busy: far beyond what anything takes. */
export const patience = { load: 300_000, step: 300_000 };

/**
 * Runs a program in a folder. `ended` gives its exit code and output; `interrupt()` is Ctrl-C to it and what it started.
 */
export function start(program, args, { cwd, env = process.env } = {}) {
  // A group of its own, so that Ctrl-C reaches what a shell started, as in a terminal.
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const out = { stdout: "", stderr: "" };
  for (const name of Object.keys(out)) child[name].setEncoding("utf8").on("data", (text) => { out[name] += text; });
  const group = (signal) => { try { process.kill(-child.pid, signal); } catch { /* it has ended */ } };
  const kill = () => group("SIGKILL");
  process.once("exit", kill);
  const ended = new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", (code) => { process.off("exit", kill); done({ code, ...out }); });
  });
  return { ended, interrupt: () => group("SIGINT"), kill };
}

/** Runs the command line on one thread, as a tab has one. Fails where it fails. */
export async function detox(args, options) {
  if (!existsSync(native)) throw new Error(`no ${native}: run \`cargo build --release\` first, or set DETOX_LAB`);
  const { code, stdout, stderr } = await start(native, [...args, "--threads", "1"], options).ended;
  if (code !== 0) throw new Error(`detox-lab ${args.join(" ")} ended with ${code}:\n${stderr}`);
  return { stdout, stderr };
}

/** Waits until `ready` gives something. */
export async function until(ready, what, timeout = patience.step) {
  const end = Date.now() + timeout;
  for (;;) {
    const found = await ready();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${timeout / 1000} s`);
    await new Promise((soon) => setTimeout(soon, 200)); // looking is work of the page's thread
  }
}

/** The lines of a .jsonl file. */
export const lines = (bytes) => bytes.toString().trimEnd().split("\n").map((line) => JSON.parse(line));

/** Every file below a folder by its name there, as `unpack` gives a zip's. */
export async function files(folder) {
  const found = (await readdir(folder, { withFileTypes: true, recursive: true })).filter((entry) => entry.isFile());
  const paths = found.map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return new Map(await Promise.all(paths.sort().map(async (path) => [relative(folder, path), await readFile(path)])));
}

/** A chapter by its heading's words. */
export const chapter = (page, title) => page.getByRole("region", { name: title });

/** A button of the run's controls. */
export const control = (page, name) =>
  page.getByRole("group", { name: "The run", exact: true }).getByRole("button", { name, exact: true });

/** Loads the models in chapter 1 and waits until they are there. */
export async function load(page) {
  const setUp = chapter(page, "Set up");
  await setUp.getByRole("button", { name: /^Load the models/ }).click();
  await setUp.getByRole("button", { name: "Loaded", exact: true }).waitFor({ timeout: patience.load });
}

/** Waits until the page says that a live run stands at this step. */
export const stands = (page, step, timeout = patience.step) =>
  page.getByText(new RegExp(`^step ${step} of \\d+$`)).waitFor({ timeout });

/** One PPO step by the button, from `step - 1` to `step`. */
export async function oneStep(page, step) {
  await control(page, "Step").click();
  await stands(page, step);
}

/** The bytes of "Save the run". */
export async function saveRun(page) {
  const download = page.waitForEvent("download", { timeout: patience.step });
  await chapter(page, "Take it with you").getByRole("button", { name: "Save the run" }).click();
  return readFile(await (await download).path());
}

const numbers = (page) => chapter(page, "Before and after, in numbers");

/** Evaluates the live run on so many held-out dialogues, and waits for its own numbers: recorded ones stood there before. */
export async function compare(page, n, seed, timeout = patience.step) {
  await numbers(page).getByRole("spinbutton", { name: "Dialogues" }).fill(String(n));
  await numbers(page).getByRole("button", { name: "Compare", exact: true }).click();
  await until(() => control(page, "Stop").isDisabled(), "the end of the evaluation", timeout);
  await numbers(page).getByText("live", { exact: true }).waitFor();
  const how = `${n} dialogues of the test split, sampled, seed ${seed}, the same for both`;
  await numbers(page).getByText(how, { exact: true }).waitFor();
}

/** The numbers of a line of that table: before, after, and where there is one the difference with its interval. */
export async function compared(page, name) {
  const row = numbers(page).getByRole("row").filter({ has: page.getByRole("rowheader", { name, exact: true }) });
  const cells = (await row.getByRole("cell").allInnerTexts()).slice(0, 3).join(" ");
  return cells.replaceAll("\u2212", "-").match(/-?\d+(\.\d+)?/g).map(Number);
}
