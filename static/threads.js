// The engine's threads: workers that run the same WebAssembly in one memory (src/kernels/tab.rs). `startThreads` makes them;
// a worker with the name "thread" is one of them and runs this file, too.

const PAGE = 65536;
/** Pages of the memory below what is set apart here; the program's own data are fewer. */
const PROGRAM = 256;
/** Bytes of a thread's stack, as in src/kernels/tab.rs. */
const STACK = 1 << 20;
/** Loads of a number before a thread sleeps: about 0.1 ms. Waking it takes as long. */
const SPINS = 20_000;
/** Places of numbers in the page that threads share, in different cache lines: the next task, how many threads are at work,
 *  how often work has begun, whether a thread allocates, whether one has failed. */
const NEXT = 0, AT_WORK = 32, ROUND = 64, LOCK = 96, FAILED = 128;

/** Waits until the number at `place` is not `value`. */
function wait(shared, place, value) {
  for (let i = 0; i < SPINS; i++) if (Atomics.load(shared, place) !== value) return;
  while (Atomics.load(shared, place) === value) Atomics.wait(shared, place, value);
}

/** What the program calls as `threads`. */
const functions = (memory, count) => {
  const shared = new Int32Array(memory.buffer, PROGRAM * PAGE, PAGE / 4);
  return {
    shared,
    count: () => count,
    stacks: () => (PROGRAM + 1) * PAGE,
    next: () => Atomics.add(shared, NEXT, 1),
    begin: () => {
      Atomics.store(shared, NEXT, 0);
      Atomics.store(shared, AT_WORK, count - 1);
      Atomics.add(shared, ROUND, 1);
      Atomics.notify(shared, ROUND);
    },
    finish: () => {
      for (let left; (left = Atomics.load(shared, AT_WORK)) > 0;) wait(shared, AT_WORK, left);
      return Atomics.load(shared, FAILED) === 0;
    },
    lock: () => { while (Atomics.compareExchange(shared, LOCK, 0, 1) !== 0); },
    unlock: () => Atomics.store(shared, LOCK, 0),
  };
};

/** One thread and no others. */
export const single = { count: () => 1 };

/** Shared memory whose maximum the browser allows; it reserves all of it at once. */
function allocate(pages) {
  for (let maximum = 65536; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: pages, maximum, shared: true });
    } catch (error) {
      if (maximum <= 8192) throw error;
    }
  }
}

/** `count` threads of this program, of which the caller is the first: what `threads` and the program need. */
export async function startThreads(count, module) {
  const memory = allocate(PROGRAM + 1 + (count - 1) * STACK / PAGE);
  const others = Array.from({ length: count - 1 }, (_, i) => new Promise((done, failed) => {
    const worker = new Worker(import.meta.url, { type: "module", name: "thread" });
    worker.onmessage = done;
    worker.onerror = (event) => failed(new Error(event.message ?? "a thread could not be started"));
    worker.postMessage({ module, memory, count, top: (PROGRAM + 1) * PAGE + (i + 1) * STACK });
  }));
  await Promise.all(others);
  return { memory, threads: functions(memory, count) };
}

/** One of the other threads: helps whenever work begins, until the tab ends. */
function help({ module, memory, count, top }) {
  const threads = functions(memory, count), { shared } = threads;
  const imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    // wasm-bindgen names an imported function __wbg_NAME_HASH; tasks call no others
    const own = threads[/^__wbg_([a-z]+)_[0-9a-f]+$/.exec(name)?.[1]];
    const not = () => { throw new Error(`a task called ${name}`); };
    (imports[from] ??= {})[name] = kind === "memory" ? memory : own ?? not;
  }
  const program = new WebAssembly.Instance(module, imports).exports;
  program.__stack_pointer.value = top;
  postMessage("ready");
  // every thread does every round, so it counts them itself: the next one may begin as soon as this one is done
  for (let round = 0; ; round = (round + 1) | 0) {
    wait(shared, ROUND, round);
    try {
      program.help();
    } catch (error) {
      console.error(error);
      Atomics.store(shared, FAILED, 1);
    }
    if (Atomics.sub(shared, AT_WORK, 1) === 1) Atomics.notify(shared, AT_WORK);
  }
}

if (self.name === "thread") self.onmessage = ({ data }) => help(data);
