//! Reads the pickle inside a torch checkpoint without running code: a small machine for the opcodes of protocol 2 that torch
//! writes, and the five globals that weights need. Anything else is an error that names it. [`Layout`] says where the numbers
//! are; `torch` reads them.
//!
//! Source: Python's `pickletools` for the opcodes; torch's `_utils._rebuild_tensor_v2`.

use super::dtype::Dtype;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Maximum number of values; a checkpoint needs about twenty per tensor.
const MAX_VALUES: usize = 2_000_000;
const MAX_DIMS: usize = 8;
/// Maximum length of a storage's key, which is copied often; torch uses numbers.
const MAX_KEY: usize = 64;

/// A tensor's position in its storage. Offset and strides count numbers, not bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// A storage: the archive's file `data/KEY` with `count` numbers of type `dtype`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Storage {
    pub key: String,
    pub dtype: Dtype,
    pub count: usize,
}

/// The tensors of the pickled state dict, in its order. The dict is the pickle's value, or is under the key `state_dict`; other
/// entries (an epoch, a learning rate) are skipped. The error says what was found.
pub fn tensors(pickle: &[u8]) -> Result<Vec<(String, Layout)>, String> {
    let mut machine =
        Machine { input: pickle, at: 0, values: vec![], stack: vec![], marks: vec![], memo: HashMap::new() };
    let top = machine.run()?;
    let found = machine.named_tensors(top);
    if !found.is_empty() {
        return Ok(found);
    }
    let inner = machine.pairs(top).iter().find(|(key, _)| machine.text(*key) == Some("state_dict"));
    let found = inner.map(|(_, value)| machine.named_tensors(*value)).unwrap_or_default();
    if found.is_empty() { Err("no state dict with tensors in it".to_string()) } else { Ok(found) }
}

/// An index into the machine's values. Containers hold indices, so a pickle may contain itself.
type ValueId = u32;

/// A value. It is small, because one byte of pickle can make one.
enum Value<'a> {
    /// None, floats, and attributes that no tensor needs.
    Other,
    Int(i64),
    Text(&'a str),
    Tuple(Vec<ValueId>),
    List(Vec<ValueId>),
    Dict(Vec<(ValueId, ValueId)>),
    Global(Global),
    Storage(Box<Storage>),
    Tensor(Box<Layout>),
}

#[derive(Clone, Copy)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    fn find(module: &str, name: &str) -> Result<Self, String> {
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Ok(Self::RebuildParameter),
            ("torch" | "torch.storage", _) if Dtype::from_torch(name).is_some() => {
                Dtype::from_torch(name).map(Self::Storage).ok_or_else(String::new)
            }
            _ => Err(format!("it uses {module}.{name}, which plain weights do not need")),
        }
    }
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<ValueId>,
    /// Stack heights at open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, ValueId>,
}

impl<'a> Machine<'a> {
    /// Runs to STOP and returns the value left on the stack.
    fn run(&mut self) -> Result<ValueId, String> {
        loop {
            let at = self.at;
            let opcode = self.bytes::<1>()?[0];
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode).map_err(|what| format!("{what} (pickle byte {at})"))?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            0x80 => self.protocol(),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            // memo
            b'q' => {
                let key = self.bytes::<1>()?[0];
                self.remember(key.into())
            }
            b'r' => {
                let key = u32::from_le_bytes(self.bytes()?);
                self.remember(key)
            }
            b'h' => {
                let key = self.bytes::<1>()?[0];
                self.recall(key.into())
            }
            b'j' => {
                let key = u32::from_le_bytes(self.bytes()?);
                self.recall(key)
            }
            // plain values
            b'N' | 0x88 | 0x89 => self.push(Value::Other), // None, True, False
            b'G' => self.bytes::<8>().and_then(|_| self.push(Value::Other)), // a float
            b'K' => self.bytes::<1>().and_then(|b| self.push(Value::Int(b[0].into()))),
            b'M' => self.bytes().and_then(|b| self.push(Value::Int(u16::from_le_bytes(b).into()))),
            b'J' => self.bytes().and_then(|b| self.push(Value::Int(i32::from_le_bytes(b).into()))),
            0x8a => self.long(),
            b'X' => self.unicode(),
            // containers
            b')' => self.push(Value::Tuple(vec![])),
            b']' => self.push(Value::List(vec![])),
            b'}' => self.push(Value::Dict(vec![])),
            b't' => self.pop_to_mark().and_then(|items| self.push(Value::Tuple(items))),
            0x85 => self.tuple(1),
            0x86 => self.tuple(2),
            0x87 => self.tuple(3),
            b'a' => self.pop().and_then(|item| self.append(vec![item])),
            b'e' => self.pop_to_mark().and_then(|items| self.append(items)),
            b's' => self.pop_n(2).and_then(|items| self.set_items(&items)),
            b'u' => self.pop_to_mark().and_then(|items| self.set_items(&items)),
            // objects
            b'c' => self.global(),
            b'Q' => self.persistent(),
            b'R' => self.reduce(),
            b'b' => self.pop().map(|_| ()), // BUILD: attributes (a state dict's _metadata) that no tensor needs
            _ => Err(format!("torch does not write opcode 0x{opcode:02x} for weights")),
        }
    }

    // -- input

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let rest = &self.input[self.at..];
        let taken = rest.get(..n).ok_or("the pickle ends too early")?;
        self.at += n;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.input[self.at..];
        let end = rest.iter().position(|b| *b == b'\n').ok_or("the pickle ends too early")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a global's name is not text".to_string())
    }

    // -- stack and memo

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values, too many for a checkpoint"));
        }
        self.stack.push(self.values.len() as ValueId);
        self.values.push(value);
        Ok(())
    }

    /// Pops a value, but not below the last open mark.
    fn pop(&mut self) -> Result<ValueId, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("a value is missing".to_string());
        }
        self.stack.pop().ok_or_else(|| "a value is missing".to_string())
    }

    fn pop_n(&mut self, n: usize) -> Result<Vec<ValueId>, String> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<ValueId>, String> {
        let height = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(height))
    }

    fn top(&self) -> Result<ValueId, String> {
        self.stack.last().copied().ok_or_else(|| "a value is missing".to_string())
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let id = *self.memo.get(&key).ok_or_else(|| format!("memo {key} is used before it is set"))?;
        self.stack.push(id);
        Ok(())
    }

    // -- opcodes

    fn protocol(&mut self) -> Result<(), String> {
        match self.bytes::<1>()?[0] {
            2 => Ok(()),
            n => Err(format!("pickle protocol {n} is not supported; torch.save writes 2 by default")),
        }
    }

    /// LONG1: up to eight little-endian bytes, two's complement.
    fn long(&mut self) -> Result<(), String> {
        let n = usize::from(self.bytes::<1>()?[0]);
        if n > 8 {
            return Err("an integer of more than 64 bits".to_string());
        }
        let bytes = self.take(n)?;
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [fill; 8];
        whole[..n].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(whole)))
    }

    fn unicode(&mut self) -> Result<(), String> {
        let n = u32::from_le_bytes(self.bytes()?);
        let bytes = self.take(n as usize)?;
        let text = std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?;
        self.push(Value::Text(text))
    }

    fn tuple(&mut self, n: usize) -> Result<(), String> {
        let items = self.pop_n(n)?;
        self.push(Value::Tuple(items))
    }

    fn append(&mut self, items: Vec<ValueId>) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err("items are appended to a value that is not a list".to_string()),
        }
    }

    fn set_items(&mut self, items: &[ValueId]) -> Result<(), String> {
        let top = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else { return Err("a dict key without a value".to_string()) };
        match &mut self.values[top as usize] {
            Value::Dict(dict) => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err("items are set on a value that is not a dict".to_string()),
        }
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let global = Global::find(module, name)?;
        self.push(Value::Global(global))
    }

    /// BINPERSID: ("storage", its class, key, device, count).
    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let storage = match self.items(id) {
            [kind, class, key, _device, count] if self.text(*kind) == Some("storage") => {
                match (self.value(*class), self.text(*key), self.size(*count)) {
                    (Value::Global(Global::Storage(dtype)), Some(key), Some(count)) if key.len() <= MAX_KEY => {
                        Storage { key: key.to_string(), dtype: *dtype, count }
                    }
                    _ => return Err("a storage is not described in torch's form".to_string()),
                }
            }
            _ => return Err("a persistent id is not a storage".to_string()),
        };
        self.push(Value::Storage(Box::new(storage)))
    }

    fn reduce(&mut self) -> Result<(), String> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let Value::Global(function) = *self.value(function) else {
            return Err("a value that is not a function is called".to_string());
        };
        match (function, self.items(arguments)) {
            (Global::OrderedDict, []) => self.push(Value::Dict(vec![])),
            // (storage, offset, shape, strides, requires_grad, hooks); newer torch adds metadata
            (Global::RebuildTensor, [storage, offset, shape, strides, ..]) => {
                let layout = self.layout(*storage, *offset, *shape, *strides)?;
                self.push(Value::Tensor(Box::new(layout)))
            }
            // (tensor, requires_grad, hooks)
            (Global::RebuildParameter, [tensor, ..]) => {
                let tensor = *tensor;
                self.stack.push(tensor);
                Ok(())
            }
            (Global::Storage(_), _) => Err("a storage class is called".to_string()),
            _ => Err("a function is called with arguments that torch does not use".to_string()),
        }
    }

    fn layout(&self, storage: ValueId, offset: ValueId, shape: ValueId, strides: ValueId) -> Result<Layout, String> {
        let sizes = |id: ValueId| self.items(id).iter().map(|i| self.size(*i)).collect::<Option<Vec<_>>>();
        if self.items(shape).len().max(self.items(strides).len()) > MAX_DIMS {
            return Err("a tensor is not described as torch does".to_string());
        }
        match (self.value(storage), self.size(offset), sizes(shape), sizes(strides)) {
            (Value::Storage(storage), Some(offset), Some(shape), Some(strides)) if shape.len() == strides.len() => {
                Ok(Layout { storage: (**storage).clone(), offset, shape, strides })
            }
            _ => Err("a tensor is not described as torch does".to_string()),
        }
    }

    // -- looking at values

    fn value(&self, id: ValueId) -> &Value<'a> {
        &self.values[id as usize]
    }

    fn text(&self, id: ValueId) -> Option<&'a str> {
        if let Value::Text(text) = *self.value(id) { Some(text) } else { None }
    }

    fn size(&self, id: ValueId) -> Option<usize> {
        if let Value::Int(n) = *self.value(id) { usize::try_from(n).ok() } else { None }
    }

    /// The items of a tuple or list; empty for other values.
    fn items(&self, id: ValueId) -> &[ValueId] {
        if let Value::Tuple(items) | Value::List(items) = self.value(id) { items } else { &[] }
    }

    /// The pairs of a dict; empty for other values.
    fn pairs(&self, id: ValueId) -> &[(ValueId, ValueId)] {
        if let Value::Dict(pairs) = self.value(id) { pairs } else { &[] }
    }

    /// The tensors of a dict, each name once: as in Python, a later value replaces an earlier one.
    fn named_tensors(&self, dict: ValueId) -> Vec<(String, Layout)> {
        let mut place: HashMap<&str, usize> = HashMap::new();
        let mut named: Vec<(&str, &Layout)> = Vec::new();
        for (key, value) in self.pairs(dict) {
            let (Some(name), Value::Tensor(layout)) = (self.text(*key), self.value(*value)) else { continue };
            match place.entry(name) {
                Entry::Occupied(place) => named[*place.get()].1 = layout,
                Entry::Vacant(free) => {
                    free.insert(named.len());
                    named.push((name, layout));
                }
            }
        }
        named.into_iter().map(|(name, layout)| (name.to_string(), layout.clone())).collect()
    }
}
