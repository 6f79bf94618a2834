//! JSON values as the template sees them.
//!
//! Their lists and maps have types of their own, so that checks of how deep the template nests values need not go
//! through a whole conversation again and again.

use std::collections::HashMap;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use serde_json::Value as Json;

#[derive(Debug)]
struct List(Vec<Value>);

/// A map in the order of its keys.
#[derive(Debug)]
struct Map {
    keys: Vec<Value>,
    items: HashMap<String, Value>,
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}

impl Object for Map {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get(key.as_str()?).cloned()
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.items.get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys.clone())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.keys.len())
    }
}

/// Converts a value; maps keep their order.
pub(super) fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => list(items.iter().map(to_value).collect()),
        Json::Object(entries) => Value::from_object(Map {
            keys: entries.keys().map(|key| Value::from(key.as_str())).collect(),
            items: entries.iter().map(|(key, item)| (key.clone(), to_value(item))).collect(),
        }),
    }
}

/// A list of converted values.
pub(super) fn list(items: Vec<Value>) -> Value {
    Value::from_object(List(items))
}

/// Whether a list or map was given to the template: it holds nothing that the template made.
pub(super) fn is_given(value: &Value) -> bool {
    value.downcast_object_ref::<List>().is_some() || value.downcast_object_ref::<Map>().is_some()
}
