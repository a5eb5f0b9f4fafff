//! Bounds on the values a template keeps from one tag to the next.

use minijinja::value::{ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::error::Exceeded;

/// Containers inside containers, in what is assigned and in what is printed.
/// JSON read by serde nests up to 128 deep.
pub(super) const DEPTH_MAX: usize = 200;

/// Returns the value if it is shallow. Lazy iterables are made lists on the
/// way: each `x = x[1:]` would otherwise wrap one more iterator around the
/// last, a depth that cannot be seen.
pub(super) fn hold(state: &State, value: Value) -> Result<Value, Error> {
    if is_opaque(&value) {
        return Ok(value);
    }
    Ok(settled(state, &value, 0)?.unwrap_or(value))
}

/// As [`hold`], for attributes of namespaces: what refers to a namespace
/// could be made to refer to itself, so no object but data is let in.
pub(super) fn hold_attribute(state: &State, value: Value) -> Result<Value, Error> {
    Ok(settled(state, &value, 0)?.unwrap_or(value))
}

/// An operand or argument: any value, charged for with all that is in it.
pub(super) fn operand(state: &State, value: Value) -> Result<Value, Error> {
    charge(state, &value, 0)?;
    Ok(value)
}

/// An operand of `*`. A list many times over is made without a charge for
/// its items, and no chat template needs one.
pub(super) fn factor(value: Value) -> Result<Value, Error> {
    if value.as_object().is_some() {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "only numbers and strings can be multiplied in a chat template",
        ));
    }
    Ok(value)
}

/// Charges for every item in a value, at any depth.
fn charge(state: &State, value: &Value, depth: usize) -> Result<(), Error> {
    let Some(object) = value.as_object() else {
        return Ok(());
    };
    if is_opaque(value) {
        return Ok(());
    }
    if depth >= DEPTH_MAX {
        return Err(Exceeded::error("a value is nested too deeply"));
    }
    state.consume_fuel(1)?;
    if object.repr() == ObjectRepr::Map {
        for (key, item) in object.try_iter_pairs().into_iter().flatten() {
            state.consume_fuel(1)?;
            charge(state, &key, depth + 1)?;
            charge(state, &item, depth + 1)?;
        }
        return Ok(());
    }
    for item in value.try_iter()?.checked() {
        state.consume_fuel(1)?;
        charge(state, &item?, depth + 1)?;
    }
    Ok(())
}

/// A namespace, or an object without items such as a macro.
fn is_opaque(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        object.repr() == ObjectRepr::Plain || object.type_name().ends_with("Namespace")
    })
}

/// The value with its lazy parts made lists; `None` if it has none.
fn settled(state: &State, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
    state.consume_fuel(1)?;
    let Some(object) = value.as_object() else {
        return Ok(None);
    };
    if is_opaque(value) {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "namespaces and macros cannot be kept inside other values",
        ));
    }
    if depth >= DEPTH_MAX {
        return Err(Exceeded::error("a value is nested too deeply"));
    }
    if object.repr() == ObjectRepr::Map {
        let mut pairs = Vec::new();
        let mut changed = false;
        for (key, item) in object.try_iter_pairs().into_iter().flatten() {
            // A key is a string or number in practice; a container as a key
            // must not be a way around the bound.
            changed |= settled(state, &key, depth + 1)?.is_some();
            let settled = settled(state, &item, depth + 1)?;
            changed |= settled.is_some();
            pairs.push((key, settled.unwrap_or(item)));
        }
        return Ok(changed.then(|| Value::from_pairs(pairs)));
    }
    let mut items = Vec::new();
    let mut changed = value.kind() == ValueKind::Iterable || is_lazy(value);
    for item in value.try_iter()?.checked() {
        let item = item?;
        let settled = settled(state, &item, depth + 1)?;
        changed |= settled.is_some();
        items.push(settled.unwrap_or(item));
    }
    Ok(changed.then(|| {
        if value.is_tuple() {
            Value::from(Tuple::from(items))
        } else {
            Value::from(items)
        }
    }))
}

fn is_lazy(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        object.downcast_ref::<Vec<Value>>().is_none() && object.downcast_ref::<Tuple>().is_none()
    })
}

/// `namespace(...)` of Jinja, its initial values held like later ones.
pub(super) fn namespace(
    state: &State,
    defaults: Option<minijinja::value::ValueOrKwargs>,
) -> Result<Value, Error> {
    if let Some(defaults) = &defaults {
        let defaults = Value::from(defaults.clone());
        settled(state, &defaults, 0)?;
    }
    minijinja::functions::namespace(defaults)
}
