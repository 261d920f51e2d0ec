//! Names of tensors without the parts that training programs add. `weights`, `adapter` and `value_head` then find tensors by
//! the names that transformers, PEFT and TRL save.

use std::borrow::Cow;

/// Prefixes: DataParallel, torch.compile, TRL's value head model, PEFT, Lightning, DeepSpeed.
const PREFIXES: [&str; 6] =
    ["module.", "_orig_mod.", "pretrained_model.", "base_model.model.", "model.", "_forward_module."];
/// Parts of a name added by wrappers of single layers: torch.compile, FSDP, gradient checkpointing.
const PARTS: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];

/// A tensor's name without the wrappers' parts. Names in T5 and RoBERTa have none of these.
pub fn unwrapped(name: &str) -> Cow<'_, str> {
    let mut own = Cow::Borrowed(name);
    for part in PARTS {
        if own.contains(part) {
            own = Cow::Owned(own.replace(part, ""));
        }
    }
    let mut rest = &*own;
    while let Some(shorter) = PREFIXES.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
        rest = shorter;
    }
    if rest.len() == own.len() { own } else { Cow::Owned(rest.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::unwrapped;

    #[test]
    fn only_the_parts_of_wrappers_are_removed() {
        for (wrapped, own) in [
            ("shared.weight", "shared.weight"),
            ("module.shared.weight", "shared.weight"),
            ("pretrained_model.base_model.model.shared.weight", "shared.weight"),
            ("base_model.model.base_model.model.lm_head.weight", "lm_head.weight"),
            ("module._orig_mod.roberta.embeddings.LayerNorm.bias", "roberta.embeddings.LayerNorm.bias"),
            ("encoder._orig_mod.block.0._fsdp_wrapped_module.layer.0", "encoder.block.0.layer.0"),
            ("v_head.summary.weight", "v_head.summary.weight"),
            ("module", "module"),
        ] {
            assert_eq!(unwrapped(wrapped), own, "{wrapped}");
        }
    }
}
