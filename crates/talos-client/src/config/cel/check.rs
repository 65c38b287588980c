//! The type of an expression.

use super::CelError;
use super::declare::Scope;
use super::expr::{Expr, Fold, Node};
use super::types::{Known, Type, more_general};

/// The type of an expression, whose every part must fit.
pub(super) fn type_of(node: &Node, scope: &Scope) -> Result<Type, CelError> {
    let mut checker =
        Checker { scope, known: Known::default(), next: 0, locals: Vec::new(), mixed: false };
    let found = checker.check(node)?;
    Ok(checker.known.resolve(&found, true))
}

struct Checker<'a> {
    scope: &'a Scope,
    known: Known,
    /// Number of the next unknown type. Letters of the tables are below it.
    next: u32,
    locals: Vec<(String, Type)>,
    /// From the first loop on upstream compares numbers of two types, also behind the loop.
    mixed: bool,
}

/// Numbers of unknown types that calls choose begin here.
const FRESH: u32 = 1000;

impl Checker<'_> {
    fn unknown(&mut self) -> Type {
        self.next += 1;
        Type::Variable(FRESH + self.next)
    }

    fn local(&self, name: &str) -> Option<&Type> {
        self.locals.iter().rev().find(|(local, _)| local == name).map(|(_, kind)| kind)
    }

    fn check(&mut self, node: &Node) -> Result<Type, CelError> {
        match node.expr.as_ref() {
            Expr::Literal(kind) => Ok(kind.clone()),
            Expr::Name(name) => self.name(name, node.column),
            Expr::Field { of, name, test } => {
                if let (Some(kind), false) = (self.qualified(node), *test) {
                    return Ok(kind);
                }
                let found = self.field(of, name, false, node.column)?;
                let found = if *test { Type::Bool } else { found };
                Ok(self.known.resolve(&found, false))
            }
            Expr::MaybeField { of, name } => {
                let found = self.field(of, name, true, node.column)?;
                Ok(self.known.resolve(&found, false))
            }
            Expr::Call { name, target, arguments } => {
                self.call(name, target.as_ref(), arguments, node.column)
            }
            Expr::List(items) => {
                let mut joined = None;
                for (item, optional) in items {
                    let found = self.check(item)?;
                    let found = self.unwrapped(found, *optional, item.column)?;
                    joined = Some(self.join(joined, found));
                }
                let of = joined.unwrap_or_else(|| self.unknown());
                Ok(Type::list(of))
            }
            Expr::Map(entries) => {
                let mut joined: Option<(Type, Type)> = None;
                for (key, value, optional) in entries {
                    let (keys, values) = joined.unzip();
                    let key = self.check(key)?;
                    let key = self.join(keys, key);
                    let found = self.check(value)?;
                    let found = self.unwrapped(found, *optional, value.column)?;
                    joined = Some((key, self.join(values, found)));
                }
                let (key, value) = joined.unwrap_or_else(|| (self.unknown(), self.unknown()));
                Ok(Type::map(key, value))
            }
            Expr::Message { name, fields } => self.message(name, fields, node.column),
            Expr::Fold(fold) => self.fold(fold),
        }
    }

    fn name(&self, name: &str, column: usize) -> Result<Type, CelError> {
        let (global, absolute) = match name.strip_prefix('.') {
            Some(global) => (global, true),
            None => (name, false),
        };
        let local = self.local(name).filter(|_| !absolute).cloned();
        local
            .or_else(|| self.scope.name(global))
            .ok_or_else(|| CelError::at(column, format!("there is no {global:?}")))
    }

    /// Names joined by dots, where the whole is the name of one thing.
    fn qualified(&self, node: &Node) -> Option<Type> {
        let name = dotted(node)?;
        let first = name.split('.').next().unwrap_or_default();
        if !name.starts_with('.') && self.local(first).is_some() {
            return None;
        }
        self.scope.name(name.trim_start_matches('.'))
    }

    fn field(
        &mut self,
        of: &Node,
        name: &str,
        optional: bool,
        column: usize,
    ) -> Result<Type, CelError> {
        let found = self.check(of)?;
        let found = self.known.resolve(&found, false);
        let (target, was_optional) = match found {
            Type::Optional(of) => (*of, true),
            other => (other, false),
        };
        let result = match &target {
            Type::Map(_, value) => value.as_ref().clone(),
            Type::Message(message) => self
                .scope
                .field(message, name)
                .ok_or_else(|| CelError::at(column, format!("{message} has no field {name:?}")))?,
            Type::Variable(_) => {
                self.known.fit(&Type::Dyn, &target);
                Type::Dyn
            }
            Type::Dyn => Type::Dyn,
            other => {
                return Err(CelError::at(column, format!("a value of type {other} has no fields")));
            }
        };
        Ok(if was_optional || optional { Type::optional(result) } else { result })
    }

    fn call(
        &mut self,
        name: &str,
        target: Option<&Node>,
        arguments: &[Node],
        column: usize,
    ) -> Result<Type, CelError> {
        let mut types = Vec::new();
        for argument in arguments {
            types.push(self.check(argument)?);
        }
        if matches!(name, "_&&_" | "_||_") && target.is_none() {
            for (found, argument) in types.iter().zip(arguments) {
                self.is(found, &Type::Bool, argument.column)?;
            }
            return Ok(Type::Bool);
        }
        let whole = target.and_then(dotted).map(|target| format!("{target}.{name}"));
        let whole = whole.as_deref().unwrap_or(name).trim_start_matches('.');
        if (target.is_none() || whole != name) && self.scope.function(whole, self.mixed).is_some() {
            return self.overload(whole, false, &types, column);
        }
        if let Some(target) = target {
            types.insert(0, self.check(target)?);
        }
        self.overload(name, target.is_some(), &types, column)
    }

    /// The result of the ways to call a function that fit.
    fn overload(
        &mut self,
        name: &str,
        is_method: bool,
        types: &[Type],
        column: usize,
    ) -> Result<Type, CelError> {
        let scope = self.scope;
        let name = name.trim_start_matches('.');
        let overloads = scope
            .function(name, self.mixed)
            .ok_or_else(|| CelError::at(column, format!("there is no function {name:?}")))?;
        let mut result: Option<Type> = None;
        for overload in overloads.into_iter().filter(|one| one.is_method == is_method) {
            let mut own = Letters::default();
            let wanted: Vec<Type> =
                overload.arguments.iter().map(|kind| own.renamed(kind, self)).collect();
            let gives = own.renamed(&overload.result, self);
            if !self.known.all_fit(types, &wanted) {
                continue;
            }
            let gives = self.known.resolve(&gives, false);
            result = Some(match result {
                Some(before) if before != Type::Dyn && before != gives => Type::Dyn,
                Some(before) => before,
                None => gives,
            });
        }
        result.ok_or_else(|| {
            let types: Vec<String> =
                types.iter().map(|kind| self.known.resolve(kind, true).to_string()).collect();
            let name = name.trim_start_matches('@').trim_matches('_');
            CelError::at(column, format!("{name:?} does not take ({})", types.join(", ")))
        })
    }

    fn message(
        &mut self,
        name: &str,
        fields: &[(String, Node, bool)],
        column: usize,
    ) -> Result<Type, CelError> {
        let name = name.trim_start_matches('.');
        let result = match self.scope.type_named(name) {
            Some(kind @ (Type::Message(_) | Type::Duration | Type::Timestamp)) => kind,
            _ => return Err(CelError::at(column, format!("there is no message {name:?}"))),
        };
        for (field, value, optional) in fields {
            let found = self.check(value)?;
            let found = self.unwrapped(found, *optional, value.column)?;
            let wanted = match (name, field.as_str()) {
                ("google.protobuf.Duration" | "google.protobuf.Timestamp", "seconds" | "nanos") => {
                    Some(Type::Int)
                }
                _ => self.scope.field(name, field),
            };
            let wanted = wanted.ok_or_else(|| {
                CelError::at(value.column, format!("{name} has no field {field:?}"))
            })?;
            if !self.known.fit(&wanted, &found) {
                let text = format!("the field {field:?} is of type {wanted}, not {found}");
                return Err(CelError::at(value.column, text));
            }
        }
        Ok(result)
    }

    fn fold(&mut self, fold: &Fold) -> Result<Type, CelError> {
        let range = self.check(&fold.range)?;
        let carried = self.check(&fold.start)?;
        let range = self.known.resolve(&range, false);
        let variable = match &range {
            Type::List(of) | Type::Map(of, _) => of.as_ref().clone(),
            Type::Dyn | Type::Variable(_) => {
                self.known.fit(&Type::Dyn, &range);
                Type::Dyn
            }
            other => {
                let text = format!("a value of type {other} cannot be gone through");
                return Err(CelError::at(fold.range.column, text));
            }
        };
        self.mixed = true;
        let before = self.locals.len();
        self.locals.push((fold.carried.clone(), carried.clone()));
        self.locals.push((fold.variable.clone(), variable));
        let condition = self.check(&fold.condition)?;
        self.is(&Type::Bool, &condition, fold.condition.column)?;
        let step = self.check(&fold.step)?;
        self.is(&carried, &step, fold.step.column)?;
        self.locals.truncate(before + 1);
        let result = self.check(&fold.result)?;
        self.locals.truncate(before);
        Ok(self.known.resolve(&result, false))
    }

    fn is(&mut self, one: &Type, other: &Type, column: usize) -> Result<(), CelError> {
        if self.known.fit(one, other) {
            return Ok(());
        }
        let (one, other) = (self.known.resolve(one, true), self.known.resolve(other, true));
        Err(CelError::at(column, format!("{one} and {other} do not fit")))
    }

    /// What stands in a list, map or message with a mark that it may not be there.
    fn unwrapped(&self, found: Type, marked: bool, column: usize) -> Result<Type, CelError> {
        match found {
            Type::Optional(of) if marked => Ok(*of),
            Type::Dyn => Ok(Type::Dyn),
            other if marked => {
                let other = self.known.resolve(&other, true);
                Err(CelError::at(column, format!("a value of type {other} is not optional")))
            }
            other => Ok(other),
        }
    }

    /// The type of what holds both.
    fn join(&mut self, before: Option<Type>, found: Type) -> Type {
        let Some(before) = before else { return found };
        match self.known.fit(&before, &found) {
            true => more_general(&before, &found).clone(),
            false => Type::Dyn,
        }
    }
}

/// Letters of a table's line, each an unknown type of its own.
#[derive(Default)]
struct Letters(Vec<(u32, Type)>);

impl Letters {
    fn renamed(&mut self, kind: &Type, checker: &mut Checker<'_>) -> Type {
        let mut inner = |kind: &Type| Box::new(self.renamed(kind, checker));
        match kind {
            Type::List(of) => Type::List(inner(of)),
            Type::Optional(of) => Type::Optional(inner(of)),
            Type::Kind(Some(of)) => Type::Kind(Some(inner(of))),
            Type::Map(key, value) => Type::Map(inner(key), inner(value)),
            Type::Variable(letter) => {
                if let Some((_, known)) = self.0.iter().find(|(own, _)| own == letter) {
                    return known.clone();
                }
                let fresh = checker.unknown();
                self.0.push((*letter, fresh.clone()));
                fresh
            }
            other => other.clone(),
        }
    }
}

/// A name, or fields of one, as the dotted name that it may be.
fn dotted(node: &Node) -> Option<String> {
    match node.expr.as_ref() {
        Expr::Name(name) => Some(name.clone()),
        Expr::Field { of, name, test: false } => Some(format!("{}.{name}", dotted(of)?)),
        _ => None,
    }
}
