//! What a condition may hold, and of what kind each part is.

use super::{ConditionError, KNOWN};
use crate::policy::{
    Privacy,
    signal::{Kind, Signal},
};
use cel::{
    IdedExpr,
    common::{
        ast::{CallExpr, Expr, LiteralValue, SourceInfo, operators},
        types::CelDouble,
    },
};

/// Deepest nesting of the operations of a condition, such as a long sum.
const OPERATIONS_DEPTH_MAX: u16 = 64;

/// Finds the kind of each part of an expression, and makes its numbers
/// floating-point and its questions after what is known variables.
pub(super) struct Checker<'a> {
    pub(super) source: &'a SourceInfo,
    /// The signals seen so far, each once.
    pub(super) signals: Vec<&'static str>,
}

impl Checker<'_> {
    fn refuse(&self, id: u64, what: impl Into<String>) -> ConditionError {
        let start = self.source.offset_for(id).map_or(0, |(start, _)| start);
        ConditionError {
            column: start as usize + 1,
            what: what.into(),
        }
    }

    pub(super) fn kind(&mut self, expr: &mut IdedExpr, depth: u16) -> Result<Kind, ConditionError> {
        let id = expr.id;
        // A chain such as `a + b + c` nests as deep as it is long.
        if depth > OPERATIONS_DEPTH_MAX {
            return Err(self.refuse(id, "it is nested too deep"));
        }
        match &mut expr.expr {
            Expr::Ident(name) => {
                let signal = self.signal(id, name)?;
                Ok(signal.kind)
            }
            Expr::Literal(literal) => self.literal(id, literal),
            Expr::Call(call) if call.target.is_none() && call.func_name == "known" => {
                let [argument] = call.args.as_slice() else {
                    return Err(self.refuse(id, "`known` takes one signal"));
                };
                let Expr::Ident(name) = &argument.expr else {
                    return Err(self.refuse(id, "`known` takes the name of a signal"));
                };
                let signal = self.signal(argument.id, name)?;
                expr.expr = Expr::Ident(format!("{KNOWN}{}", signal.name));
                Ok(Kind::Bool)
            }
            Expr::Call(call) if call.target.is_none() => self.operation(id, call, depth),
            Expr::Call(call) => {
                let what = format!("conditions have no function `{}`", call.func_name);
                Err(self.refuse(id, what))
            }
            Expr::List(_) => Err(self.refuse(id, "a list can stand only behind `in`")),
            Expr::Select(select) => {
                let what = format!("signals have no fields, such as `{}`", select.field);
                Err(self.refuse(id, what))
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {
                Err(self.refuse(id, "conditions hold only signals, literals and operators"))
            }
        }
    }

    fn signal(&mut self, id: u64, name: &str) -> Result<&'static Signal, ConditionError> {
        let Some(signal) = Signal::find(name) else {
            let like = Signal::all().iter().find(|signal| {
                let stem = signal.name.split('_').next();
                stem.is_some_and(|stem| name.starts_with(stem))
            });
            let hint = like.map_or_else(String::new, |signal| {
                format!("; did you mean `{}`?", signal.name)
            });
            return Err(self.refuse(id, format!("`{name}` is not a signal{hint}")));
        };
        if !self.signals.contains(&signal.name) {
            self.signals.push(signal.name);
        }
        Ok(signal)
    }

    fn literal(&self, id: u64, literal: &mut LiteralValue) -> Result<Kind, ConditionError> {
        let double = |value: f64| LiteralValue::Double(CelDouble::from(value));
        match literal {
            LiteralValue::Boolean(_) => return Ok(Kind::Bool),
            LiteralValue::Double(_) => {}
            LiteralValue::Int(value) => *literal = double(*value.inner() as f64),
            LiteralValue::UInt(value) => *literal = double(*value.inner() as f64),
            LiteralValue::String(text) => {
                // A misspelt class would let everything through.
                let names = Privacy::ALL.map(Privacy::name);
                if names.contains(&text.inner()) {
                    return Ok(Kind::Text);
                }
                let what = format!("the texts there are: {}", names.join(", "));
                return Err(self.refuse(id, what));
            }
            LiteralValue::Bytes(_) | LiteralValue::Null => {
                return Err(self.refuse(id, "there are only numbers, texts, true and false"));
            }
        }
        Ok(Kind::Number)
    }

    fn operation(
        &mut self,
        id: u64,
        call: &mut CallExpr,
        depth: u16,
    ) -> Result<Kind, ConditionError> {
        let name = call.func_name.as_str();
        match (name, call.args.as_mut_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => {
                self.want(left, Kind::Bool, depth)?;
                self.want(right, Kind::Bool, depth)
            }
            (operators::LOGICAL_NOT, [only]) => self.want(only, Kind::Bool, depth),
            (operators::NEGATE, [only]) => self.want(only, Kind::Number, depth),
            (
                operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE,
                [left, right],
            ) => {
                self.want(left, Kind::Number, depth)?;
                self.want(right, Kind::Number, depth)
            }
            (
                operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                self.want(left, Kind::Number, depth)?;
                self.want(right, Kind::Number, depth)?;
                Ok(Kind::Bool)
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                let kind = self.kind(left, depth + 1)?;
                self.want(right, kind, depth)?;
                Ok(Kind::Bool)
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                self.want(condition, Kind::Bool, depth)?;
                let kind = self.kind(then, depth + 1)?;
                self.want(otherwise, kind, depth)
            }
            (operators::IN, [left, right]) => {
                let kind = self.kind(left, depth + 1)?;
                let Expr::List(list) = &mut right.expr else {
                    return Err(self.refuse(right.id, "behind `in` a list is wanted"));
                };
                for element in &mut list.elements {
                    self.want(element, kind, depth)?;
                }
                Ok(Kind::Bool)
            }
            _ => {
                let shown = name.trim_matches('_').trim_start_matches('@');
                Err(self.refuse(id, format!("conditions have no `{shown}`")))
            }
        }
    }

    /// The kind of a part that must be of this kind.
    fn want(
        &mut self,
        expr: &mut IdedExpr,
        kind: Kind,
        depth: u16,
    ) -> Result<Kind, ConditionError> {
        let found = self.kind(expr, depth + 1)?;
        if found == kind {
            return Ok(kind);
        }
        let what = format!(
            "{} stands here, where {} is wanted",
            found.name(),
            kind.name()
        );
        Err(self.refuse(expr.id, what))
    }
}
