//! Types of expressions, and how they fit one another.

use std::collections::BTreeMap;
use std::fmt;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// Anything.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Box<Self>),
    Map(Box<Self>, Box<Self>),
    /// Something that may not be there.
    Optional(Box<Self>),
    /// The type of a type.
    Kind(Option<Box<Self>>),
    /// A message of protobuf.
    Message(String),
    /// Not known yet.
    Variable(u32),
}

impl Type {
    /// A list of a type.
    pub(super) fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    /// A map from one type to another.
    pub(super) fn map(key: Self, value: Self) -> Self {
        Self::Map(Box::new(key), Box::new(value))
    }

    /// What may not be there.
    pub(super) fn optional(of: Self) -> Self {
        Self::Optional(Box::new(of))
    }

    fn parameters(&self) -> Vec<&Self> {
        match self {
            Self::List(of) | Self::Optional(of) | Self::Kind(Some(of)) => vec![of],
            Self::Map(key, value) => vec![key, value],
            _ => Vec::new(),
        }
    }

    fn same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(of) => write!(f, "optional({of})"),
            Self::Kind(Some(of)) => write!(f, "type({of})"),
            Self::Kind(None) => f.write_str("type"),
            Self::Message(name) => f.write_str(name),
            Self::Variable(_) => f.write_str("unknown"),
        }
    }
}

/// What unknown types turned out to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(BTreeMap<u32, Type>);

impl Known {
    /// Whether each of a row fits its counterpart; what follows from it is kept only if all do.
    pub(super) fn all_fit(&mut self, from: &[Type], to: &[Type]) -> bool {
        let mut tried = self.clone();
        let fit = from.len() == to.len() && from.iter().zip(to).all(|(a, b)| tried.fits(a, b));
        if fit {
            *self = tried;
        }
        fit
    }

    /// Whether one type fits another; what follows from it is kept only then.
    pub(super) fn fit(&mut self, from: &Type, to: &Type) -> bool {
        self.all_fit(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    fn find(&self, of: &Type) -> Option<&Type> {
        match of {
            Type::Variable(id) => self.0.get(id),
            _ => None,
        }
    }

    fn fits(&mut self, from: &Type, to: &Type) -> bool {
        if matches!(to, Type::Variable(_)) {
            match self.stands_for(from, to) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if matches!(from, Type::Variable(_)) {
            return self.stands_for(to, from).0;
        }
        if *from == Type::Dyn || *to == Type::Dyn {
            return true;
        }
        match (from, to) {
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Null
                    | Type::Optional(_)
                    | Type::Message(_)
                    | Type::Duration
                    | Type::Timestamp
            ),
            (Type::Kind(_), Type::Kind(_)) => true,
            (Type::List(_) | Type::Map(..) | Type::Optional(_), _) if from.same_kind(to) => {
                let pairs = from.parameters().into_iter().zip(to.parameters());
                pairs.into_iter().all(|(from, to)| self.fits(from, to))
            }
            _ => from == to,
        }
    }

    /// Whether an unknown type may be this one, and whether it was known before.
    fn stands_for(&mut self, this: &Type, unknown: &Type) -> (bool, bool) {
        if this == unknown {
            return (true, true);
        }
        if let Some(known) = self.find(unknown).cloned() {
            if *this == known {
                return (true, true);
            }
            if !self.fits(this, &known) {
                return (false, true);
            }
            let general = more_general(this, &known).clone();
            if !self.occurs(unknown, &general) {
                self.learn(unknown, general);
            }
            return (true, true);
        }
        if self.occurs(unknown, this) {
            return (false, false);
        }
        self.learn(unknown, this.clone());
        (true, false)
    }

    fn learn(&mut self, unknown: &Type, known: Type) {
        if let Type::Variable(id) = unknown {
            self.0.insert(*id, known);
        }
    }

    /// Whether an unknown type is part of another.
    fn occurs(&self, unknown: &Type, within: &Type) -> bool {
        if unknown == within {
            return true;
        }
        match self.find(within) {
            Some(known) => self.occurs(unknown, known),
            None => within.parameters().into_iter().any(|part| self.occurs(unknown, part)),
        }
    }

    /// A type with all that is known put in; with `finally` the rest may be anything.
    pub(super) fn resolve(&self, of: &Type, finally: bool) -> Type {
        if let Some(known) = self.find(of) {
            return self.resolve(known, finally);
        }
        let inner = |of: &Type| Box::new(self.resolve(of, finally));
        match of {
            Type::Variable(_) if finally => Type::Dyn,
            Type::List(of) => Type::List(inner(of)),
            Type::Optional(of) => Type::Optional(inner(of)),
            Type::Kind(Some(of)) => Type::Kind(Some(inner(of))),
            Type::Map(key, value) => Type::Map(inner(key), inner(value)),
            other => other.clone(),
        }
    }
}

/// The more general of two types that fit.
pub(super) fn more_general<'a>(one: &'a Type, other: &'a Type) -> &'a Type {
    if is_no_narrower(one, other) { one } else { other }
}

fn is_no_narrower(one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Type::Dyn | Type::Variable(_), _) => true,
        (_, Type::Dyn | Type::Variable(_)) => false,
        (Type::Kind(_), Type::Kind(_)) => true,
        (Type::List(_) | Type::Map(..) | Type::Optional(_), _) if one.same_kind(other) => {
            let pairs = one.parameters().into_iter().zip(other.parameters());
            pairs.into_iter().all(|(one, other)| is_no_narrower(one, other))
        }
        _ => one == other,
    }
}
