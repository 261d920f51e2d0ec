// Writes what torch.save writes of a state dict, as far as the tests need it: a zip of stored entries with the pickle of the
// tensors' names and shapes, and one entry for each tensor's numbers.
import { pack } from "./zip.mjs";

const STORAGES = { F16: "HalfStorage", F32: "FloatStorage" };

/** A safetensors file as a torch file. */
export function fromSafetensors(file) {
  const size = Number(file.readBigUInt64LE());
  const header = JSON.parse(file.subarray(8, 8 + size));
  delete header.__metadata__;
  const entries = new Map();
  const tensors = Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }], at) => {
    entries.set(`archive/data/${at}`, file.subarray(8 + size + from, 8 + size + to));
    return [text(name), tensor(STORAGES[dtype], `${at}`, shape)];
  });
  // A dict is set from a mark on, all its items at once.
  const pickle = Buffer.concat([Buffer.from([0x80, 2]), Buffer.from("}("), ...tensors.flat(), Buffer.from("u.")]);
  return pack(new Map([["archive/data.pkl", pickle], ["archive/byteorder", Buffer.from("little")], ...entries]), { stored: true });
}

/** A call of torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks). */
function tensor(storage, key, shape) {
  const count = shape.reduce((a, b) => a * b, 1);
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const persistent = [tuple(text("storage"), global("torch", storage), text(key), text("cpu"), int(count)), Buffer.from("Q")];
  const hooks = [global("collections", "OrderedDict"), Buffer.from(")R")];
  return Buffer.concat([global("torch._utils", "_rebuild_tensor_v2"),
    tuple(...persistent, int(0), tuple(...shape.map(int)), tuple(...strides.map(int)), Buffer.from([0x89]), ...hooks),
    Buffer.from("R")]);
}

const tuple = (...items) => Buffer.concat([Buffer.from("("), ...items, Buffer.from("t")]);
const global = (module, name) => Buffer.from(`c${module}\n${name}\n`);

function int(value) {
  const bytes = Buffer.from("J....");
  bytes.writeInt32LE(value, 1);
  return bytes;
}

function text(value) {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(Buffer.byteLength(value));
  return Buffer.concat([Buffer.from("X"), length, Buffer.from(value)]);
}
