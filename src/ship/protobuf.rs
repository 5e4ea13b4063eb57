//! As much of Protocol Buffers' wire format as OTLP logs need.

use serde_json::Value;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// A message that is written field by field.
#[derive(Debug, Default)]
pub(super) struct Wire(Vec<u8>);

impl Wire {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, field: u8, kind: u8) {
        self.varint((u64::from(field) << 3) | u64::from(kind));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.0.push(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.0.push(low);
    }

    /// `int64`, `uint64`, an enum or a `bool`.
    pub(super) fn number(&mut self, field: u8, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    /// `fixed64` or `double`.
    pub(super) fn fixed(&mut self, field: u8, value: [u8; 8]) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&value);
    }

    pub(super) fn text(&mut self, field: u8, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    /// A message in a message.
    pub(super) fn message(&mut self, field: u8, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        self.key(field, BYTES);
        self.varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
    }

    /// `KeyValue` of `opentelemetry/proto/common/v1`.
    pub(super) fn pair(&mut self, field: u8, key: &str, value: &Value) {
        self.message(field, |pair| {
            pair.text(1, key);
            pair.message(2, |any| any.value(value));
        });
    }

    /// The fields of an `AnyValue`; null is one without any.
    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(truth) => self.number(2, u64::from(*truth)),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => self.number(3, whole.cast_unsigned()),
                (None, float) => self.fixed(4, float.unwrap_or_default().to_le_bytes()),
            },
            Value::String(text) => self.text(1, text),
            Value::Array(items) => self.message(5, |list| {
                for item in items {
                    list.message(1, |any| any.value(item));
                }
            }),
            Value::Object(members) => self.message(6, |list| {
                for (key, member) in members {
                    list.pair(1, key, member);
                }
            }),
        }
    }
}

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'b> {
    Number(u64),
    Bytes(&'b [u8]),
    Fixed([u8; 8]),
}

/// The fields of a message; `None` where the bytes are none. Unknown fields are given too: skipping them is the reader's.
pub(super) fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let field = match u8::try_from(key & 7).ok()? {
            VARINT => Field::Number(varint(&mut bytes)?),
            FIXED64 => {
                let (value, rest) = bytes.split_first_chunk::<8>()?;
                bytes = rest;
                Field::Fixed(*value)
            }
            BYTES => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Field::Bytes(value)
            }
            FIXED32 => {
                let ([a, b, c, d], rest) = bytes.split_first_chunk::<4>()?;
                bytes = rest;
                Field::Fixed([*a, *b, *c, *d, 0, 0, 0, 0])
            }
            _ => return None,
        };
        fields.push((key >> 3, field));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    pub(in crate::ship) fn find<'b>(fields: &[(u64, Field<'b>)], number: u64) -> Option<Field<'b>> {
        fields.iter().find(|(n, _)| *n == number).map(|(_, f)| *f)
    }

    pub(in crate::ship) fn inner(field: Option<Field<'_>>) -> Vec<(u64, Field<'_>)> {
        match field {
            Some(Field::Bytes(bytes)) => fields(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// An `AnyValue` as JSON.
    pub(in crate::ship) fn any(fields: &[(u64, Field<'_>)]) -> Value {
        match fields {
            [] => Value::Null,
            [(1, Field::Bytes(text))] => json!(std::str::from_utf8(text).unwrap()),
            [(2, Field::Number(truth))] => json!(*truth == 1),
            [(3, Field::Number(number))] => json!(number.cast_signed()),
            [(4, Field::Fixed(bytes))] => json!(f64::from_le_bytes(*bytes)),
            [(5, list)] => inner(Some(*list))
                .into_iter()
                .map(|(_, item)| any(&inner(Some(item))))
                .collect(),
            [(6, list)] => {
                let pairs = inner(Some(*list)).into_iter().map(|(_, pair)| {
                    let pair = inner(Some(pair));
                    let Some(Field::Bytes(key)) = find(&pair, 1) else {
                        panic!("no key")
                    };
                    let value = any(&inner(find(&pair, 2)));
                    (String::from_utf8(key.to_vec()).unwrap(), value)
                });
                Value::Object(pairs.collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            prop::bool::ANY.prop_map(|b| json!(b)),
            prop::num::i64::ANY.prop_map(|n| json!(n)),
            (-1e9..1e9).prop_map(|f: f64| json!(f)),
            "(?s).{0,20}".prop_map(|s| json!(s)),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-z.]{1,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_read_back(value in values()) {
            let mut wire = Wire::default();
            wire.value(&value);
            let bytes = wire.into_bytes();
            prop_assert_eq!(any(&fields(&bytes).unwrap()), value);
        }

        #[test]
        fn any_bytes_are_fields_or_none(bytes in prop::collection::vec(prop::num::u8::ANY, 0..64)) {
            fields(&bytes);
        }

        #[test]
        fn numbers_read_back(number in prop::num::u64::ANY) {
            let mut wire = Wire::default();
            wire.number(1, number);
            let bytes = wire.into_bytes();
            prop_assert_eq!(fields(&bytes), Some(vec![(1, Field::Number(number))]));
        }
    }
}
