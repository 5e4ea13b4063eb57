//! A segment written anew by somebody without any key: chain, tree and seal are computed as docs/audit.md says.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How a segment ended, as the next states it.
pub(crate) struct Ended {
    previous: Value,
    pub(crate) sequence: u64,
    head: Vec<u8>,
}

impl Ended {
    /// Before the first segment.
    pub(crate) fn nothing() -> Self {
        let head = vec![0; 32];
        let previous = json!({
            "segment": "00000000-0000-0000-0000-000000000000", "sequence": 0, "head": hex(&head),
        });
        Self {
            previous,
            sequence: 0,
            head,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn sha(parts: &[&[u8]]) -> Vec<u8> {
    Sha256::digest(parts.concat()).to_vec()
}

/// RFC 6962, section 2.1.
fn root(leaves: &[Vec<u8>]) -> Vec<u8> {
    if leaves.len() == 1 {
        return leaves[0].clone();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    sha(&[&[1], &root(left), &root(right)])
}

fn tree(leaves: &[Vec<u8>]) -> Value {
    json!({"size": leaves.len(), "root": hex(&root(leaves))})
}

/// The segment behind `before`, with the records that lie in `records` of `bytes`: its name, its bytes, its end.
/// `declare` may alter the header, `edit` the frames.
pub(crate) fn segment(
    bytes: &[u8],
    records: &[Range<usize>],
    before: &Ended,
    declare: impl FnOnce(&mut Value),
    edit: impl FnOnce(&mut [Vec<u8>]),
) -> (String, Vec<u8>, Ended) {
    let length = u32::from_be_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[16..16 + length]).unwrap();
    header["previous"] = before.previous.clone();
    header["first"] = json!(before.sequence + 1);
    declare(&mut header);
    let first = header["first"].as_u64().unwrap();
    let json = serde_json::to_vec(&header).unwrap();
    let mut out = bytes[..12].to_vec();
    out.extend(u32::try_from(json.len()).unwrap().to_be_bytes());
    out.extend(json);
    let mut leaves = vec![sha(&[&[0], &out])];
    let start = b"chartgate/audit/segment-start/v2\0";
    let mut head = sha(&[start, &before.head, &leaves[0]]);
    out.extend(&head);
    let mut chained = |frame: &[u8], leaf: &[u8]| {
        head = sha(&[b"chartgate/audit/frame/v2\0", &head, leaf]);
        out.extend(frame);
        out.extend(&head);
    };
    let mut frames: Vec<Vec<u8>> = records
        .iter()
        .map(|record| bytes[record.start..record.end - 32].to_vec())
        .collect();
    edit(&mut frames);
    let mut last = first - 1;
    for mut frame in frames {
        last += 1;
        frame[5..13].copy_from_slice(&last.to_be_bytes());
        leaves.push(sha(&[&[0], &frame]));
        chained(&frame, &leaves[leaves.len() - 1]);
    }
    let seal = json!({
        "records": last + 1 - first, "last": last, "closed": header["created"], "tree": tree(&leaves),
    });
    let seal = serde_json::to_vec(&seal).unwrap();
    let mut frame = u32::try_from(seal.len() + 41)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    frame.push(3);
    frame.extend(last.to_be_bytes());
    frame.extend(seal);
    chained(&frame, &sha(&[&[0], &frame]));
    let id = header["segment"].as_str().unwrap();
    let ended = Ended {
        previous: json!({
            "segment": id, "sequence": last, "head": hex(&head), "tree": tree(&leaves),
        }),
        sequence: last,
        head,
    };
    (format!("{first:020}-{id}.cgseg"), out, ended)
}
