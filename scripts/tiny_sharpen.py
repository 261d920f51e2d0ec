#!/usr/bin/env python3
"""Multiplies a policy's logits by a factor, as sampling at the temperature 1/factor does, but for good: the decoder's last norm is
multiplied. python3 scripts/tiny_sharpen.py MODEL_DIR OUT_DIR FACTOR (standard library only)."""
import json, os, shutil, struct, sys

NORM = "decoder.final_layer_norm.weight"


def main():
    source, out, factor = sys.argv[1], sys.argv[2], float(sys.argv[3])
    with open(os.path.join(source, "model.safetensors"), "rb") as file:
        content = bytearray(file.read())
    size = struct.unpack("<Q", content[:8])[0]
    tensor = json.loads(content[8:8 + size])[NORM]
    kind = {"F16": "e", "F32": "f"}[tensor["dtype"]]
    first, end = (8 + size + offset for offset in tensor["data_offsets"])
    numbers = struct.unpack(f"<{tensor['shape'][0]}{kind}", content[first:end])
    content[first:end] = struct.pack(f"<{len(numbers)}{kind}", *(factor * number for number in numbers))
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out + ".new", dirs_exist_ok=True)
    with open(os.path.join(out + ".new", "model.safetensors"), "wb") as file:
        file.write(content)
    os.replace(out + ".new", out)


if __name__ == "__main__":
    main()
