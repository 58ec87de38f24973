//! What a schema comes to when every reference is followed.

use std::collections::HashMap;

use serde_json::Value;

use super::{Names, follow, invalid, is_data, is_reference, is_schema_map, refuse_too_deep};
use crate::domain::error::{Code, Detail, Error};
use crate::domain::pointer::Pointer;

impl<'a> Names<'a> {
    /// The embedded schemas that a reference without its fragment may mean: the ends of their
    /// names are compared, since either may be relative.
    fn embedded(&self, base: &str) -> impl Iterator<Item = &'a Value> {
        let last = |address: &str| address.rsplit(['/', ':']).next().map(str::to_owned);
        let found = self
            .schemas
            .iter()
            .filter(move |(id, _)| id.ends_with(base) || last(id) == last(base));
        found.map(|(_, node)| *node)
    }

    /// Every node that a reference may lead to. More than one where only the place of the
    /// reference, or the way that led to it, would tell: to count too much is safe.
    fn targets(&self, root: &'a Value, reference: &str) -> Vec<&'a Value> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return self.anchors.get(fragment).cloned().unwrap_or_default();
        }
        let here = base.is_empty().then_some(root);
        let bases = here.into_iter().chain(self.embedded(base));
        let pointer = format!("#{fragment}");
        let mut targets: Vec<&Value> = Vec::new();
        for target in bases.filter_map(|base| follow(base, &pointer)) {
            if !targets.iter().any(|known| std::ptr::eq(*known, target)) {
                targets.push(target);
            }
        }
        targets
    }
}

/// What a node comes to with every `$ref` followed and cycles cut.
#[derive(Debug, Clone, Copy)]
struct Extent {
    nodes: u64,
    /// Levels from the node down.
    height: usize,
}

impl Extent {
    const LEAF: Self = Self {
        nodes: 1,
        height: 1,
    };

    fn with(self, part: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(part.nodes),
            height: self.height.max(part.height + 1),
        }
    }
}

/// Counts schema nodes with every reference followed, each target once by memo, saturating.
pub(super) struct Expansion<'a> {
    root: &'a Value,
    names: &'a Names<'a>,
    counted: HashMap<*const Value, Extent>,
    open: Vec<*const Value>,
}

impl<'a> Expansion<'a> {
    pub(super) fn count(root: &'a Value, names: &'a Names<'a>) -> Result<u64, Error> {
        let mut expansion = Self {
            root,
            names,
            counted: HashMap::new(),
            open: Vec::new(),
        };
        Ok(expansion.node(root, &Pointer::root(), 0)?.nodes)
    }

    /// The extent of a node that stands `depth` levels down.
    fn node(&mut self, node: &'a Value, at: &Pointer, depth: usize) -> Result<Extent, Error> {
        refuse_too_deep(depth, at)?;
        let mut extent = Extent::LEAF;
        match node {
            Value::Object(members) => {
                for (key, value) in members {
                    match (key.as_str(), value) {
                        (key, Value::String(reference)) if is_reference(key) => {
                            for target in self.names.targets(self.root, reference) {
                                extent = extent.with(self.target(target, at, depth + 1)?);
                            }
                        }
                        ("$defs" | "definitions", _) => {}
                        (key, Value::Object(nodes)) if is_schema_map(key) => {
                            let place = at.join(key);
                            for (name, node) in nodes {
                                let node = self.node(node, &place.join(name), depth + 1)?;
                                extent = extent.with(node);
                            }
                        }
                        (key, _) if is_data(key) => {}
                        _ => extent = extent.with(self.node(value, &at.join(key), depth + 1)?),
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    extent = extent.with(self.node(item, &at.index(index), depth + 1)?);
                }
            }
            _ => {}
        }
        Ok(extent)
    }

    fn target(&mut self, target: &'a Value, at: &Pointer, depth: usize) -> Result<Extent, Error> {
        self.refuse_empty_loop(target, at)?;
        let key = std::ptr::from_ref(target);
        if let Some(extent) = self.counted.get(&key) {
            refuse_too_deep(depth + extent.height, at)?;
            return Ok(*extent);
        }
        if self.open.contains(&key) {
            return Ok(Extent::LEAF);
        }
        self.open.push(key);
        // Inside the target, places are counted from the reference; nothing stands there.
        let extent = self.node(target, at, depth).map_err(|mut error| {
            for told in &mut error.errors {
                told.pointer = at.to_string();
            }
            match error.code {
                Code::InvalidSchema => invalid(error.errors),
                _ => error,
            }
        })?;
        self.open.pop();
        self.counted.insert(key, extent);
        Ok(extent)
    }

    /// A chain of references that comes back to itself without a keyword in between says nothing.
    fn refuse_empty_loop(&self, target: &'a Value, at: &Pointer) -> Result<(), Error> {
        let mut seen = vec![std::ptr::from_ref(target)];
        let mut node = target;
        while let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            let Some(next) = follow(self.root, reference) else {
                return Ok(());
            };
            if seen.contains(&std::ptr::from_ref(next)) {
                let message = format!("`{reference}` leads back to itself.");
                return Err(invalid(vec![Detail {
                    pointer: at.join("$ref").to_string(),
                    message,
                }]));
            }
            seen.push(std::ptr::from_ref(next));
            refuse_too_deep(seen.len(), at)?;
            node = next;
        }
        Ok(())
    }
}
