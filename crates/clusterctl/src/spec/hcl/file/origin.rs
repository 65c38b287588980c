//! Where values are written.

use super::super::ast::{Expr, Node, ObjectKey};
use super::super::error::Place;
use super::{DEEPEST_CHAIN, FileEval};

impl FileEval {
    /// Where the value at a path of keys is written, with its text: as deep as objects are
    /// written out, also through a local that stands alone for a value.
    pub fn origin(&self, path: &[&str]) -> Option<(Place, String)> {
        let (first, rest) = path.split_first()?;
        let expr = match self.local_attribute(first) {
            Some(found) => &found.expr,
            None => {
                let inputs = self.body.attribute("inputs")?;
                return Some(self.descend(&inputs.expr, path, 0));
            }
        };
        Some(self.descend(expr, rest, 0))
    }

    /// As [`Self::origin`], of the inputs alone, whatever local has the name too.
    pub fn input_origin(&self, path: &[&str]) -> Option<(Place, String)> {
        Some(self.descend(&self.body.attribute("inputs")?.expr, path, 0))
    }

    fn descend(&self, expr: &Expr, path: &[&str], depth: usize) -> (Place, String) {
        if depth < DEEPEST_CHAIN
            && let Some((key, rest)) = path.split_first()
        {
            match &expr.node {
                Node::Object(items) => {
                    let named = |item: &&(ObjectKey, Expr)| match &item.0 {
                        ObjectKey::Word(word, _) => &**word == *key,
                        ObjectKey::Expr(Expr { node: Node::Text(text), .. }) => &**text == *key,
                        ObjectKey::Expr(_) => false,
                    };
                    if let Some((_, value)) = items.iter().rev().find(named) {
                        return self.descend(value, rest, depth + 1);
                    }
                }
                Node::Tuple(items) => {
                    if let Some(item) = key.parse::<usize>().ok().and_then(|at| items.get(at)) {
                        return self.descend(item, rest, depth + 1);
                    }
                }
                Node::Attribute(inner, name) => {
                    if let Node::Name(root) = &inner.node
                        && &**root == "local"
                        && let Some(found) = self.local_attribute(name)
                    {
                        return self.descend(&found.expr, path, depth + 1);
                    }
                }
                Node::Group(inner) => return self.descend(inner, path, depth + 1),
                _ => {}
            }
        }
        let text = self.loader.sources().get(&self.path).map_or_else(String::new, |text| {
            text.get(expr.span.clone()).unwrap_or_default().to_owned()
        });
        (self.place(&expr.span), text)
    }
}
