use super::*;
use crate::kv::KvFormat;
use outrigger_kernels::cpu::kv::{KEY_TILE, key_tile};
use proptest::prelude::*;
use std::collections::BTreeMap;

const PAGE: usize = 16;
const WINDOW: u32 = 24;
const ROLLBACK: u32 = 12;

fn shape() -> Vec<LayerKv> {
    let layer = LayerKv {
        heads: 2,
        key_len: 3,
        value_len: 2,
        window: None,
    };
    vec![
        layer,
        LayerKv {
            window: Some(WINDOW),
            ..layer
        },
    ]
}

fn cache(pages: usize, positions_max: u32) -> KvCache {
    let mut config = KvConfig {
        format: KvFormat::F32,
        page_positions: PAGE,
        bytes_max: 0,
        positions_max,
        rollback: ROLLBACK,
    };
    config.bytes_max = page_bytes(&shape(), &config).unwrap() * pages;
    KvCache::new(shape(), config).unwrap()
}

/// Appends `marks`, each written into every layer and head as a value of its own.
fn append(cache: &mut KvCache, id: SequenceId, marks: &[f32]) -> Result<(), KvError> {
    let start = cache.len(id).unwrap();
    cache.prepare(id, marks.len() as u32)?;
    for (i, &mark) in marks.iter().enumerate() {
        for layer in 0..2 {
            for head in 0..2 {
                let at = KvPlace {
                    sequence: id,
                    layer,
                    position: start + i as u32,
                };
                let mark = mark + (layer * 2 + head) as f32 / 8.0;
                // SAFETY: the test has one thread.
                assert!(unsafe { cache.store(at, head, &[mark; 3], &[-mark; 2]) });
            }
        }
    }
    cache.commit(id, marks.len() as u32)
}

/// Reads back what the next position would look at and compares.
fn check(cache: &KvCache, id: SequenceId, marks: &[f32]) {
    let len = marks.len();
    assert_eq!(cache.len(id), Some(len as u32));
    for layer in 0..2 {
        let from = if layer == 1 {
            (len + 1).saturating_sub(WINDOW as usize)
        } else {
            0
        };
        for head in 0..2 {
            // SAFETY: the test has one thread.
            let rows = unsafe { cache.rows(id, layer, head) }.unwrap();
            for (position, mark) in marks.iter().enumerate().skip(from) {
                let (first, keys, values) = rows.run(position);
                let mark = mark + (layer * 2 + head) as f32 / 8.0;
                let (mut key, mut value) = ([0.0; 3], [0.0; 2]);
                let (tile, lane) = key_tile(position - first, 12 * KEY_TILE);
                KvFormat::F32.load_key(&keys[tile], lane, &mut key);
                let value_row = &values[(position - first) * 8..][..8];
                KvFormat::F32.load_value(value_row, &mut value);
                assert_eq!((key, value), ([mark; 3], [-mark; 2]));
            }
        }
    }
}

const A: SequenceId = SequenceId(1);
const B: SequenceId = SequenceId(2);

fn marks(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

#[test]
fn a_full_pool_is_an_error_that_changes_nothing() {
    let mut cache = cache(4, 100);
    cache.create(A).unwrap();
    append(&mut cache, A, &marks(32)).unwrap();
    assert_eq!(
        append(&mut cache, A, &[1.0]),
        Err(KvError::Full {
            needed: 2,
            free: 0,
            total: 4
        })
    );
    check(&cache, A, &marks(32));
    cache.release(A);
    assert_eq!(cache.free_pages(), 4);
}

#[test]
fn the_context_and_the_quota_are_bounds() {
    let mut cache = cache(40, 40);
    cache.create(A).unwrap();
    assert!(matches!(
        cache.prepare(A, 41),
        Err(KvError::ContextExceeded {
            needed: 41,
            max: 40,
            ..
        })
    ));
    cache.set_quota(A, 2).unwrap();
    append(&mut cache, A, &marks(16)).unwrap();
    assert!(matches!(
        cache.prepare(A, 1),
        Err(KvError::Quota {
            quota: 2,
            needed: 4,
            ..
        })
    ));
    assert_eq!(cache.create(A), Err(KvError::Exists(A)));
    assert_eq!(cache.prepare(B, 1), Err(KvError::Unknown(B)));
}

#[test]
fn a_window_lets_pages_go_and_truncate_says_from_where_to_rebuild() {
    let mut cache = cache(100, 800);
    cache.create(A).unwrap();
    for mark in marks(200) {
        append(&mut cache, A, &[mark]).unwrap();
    }
    // 13 pages of the full layer; of the other those that touch 164..200.
    assert_eq!(cache.held_pages(A), Some(13 + 3));
    assert_eq!(cache.truncate(A, 200 - ROLLBACK), Ok(188));
    check(&cache, A, &marks(188));
    assert_eq!(cache.truncate(A, 80), Ok(0));
    assert_eq!(cache.len(A), Some(0));
    assert_eq!(cache.free_pages(), 100);
    assert!(matches!(cache.truncate(A, 1), Err(KvError::Beyond { .. })));
}

#[test]
fn a_snapshot_comes_back_elsewhere() {
    let mut cache = cache(40, 100);
    cache.create(A).unwrap();
    append(&mut cache, A, &marks(23)).unwrap();
    let snapshot = cache.snapshot(A).unwrap();
    assert_eq!(snapshot.len(), 23);
    assert!(snapshot.bytes() > 0 && !snapshot.is_empty());
    cache.restore(B, &snapshot).unwrap();
    append(&mut cache, A, &[99.0]).unwrap();
    check(&cache, B, &marks(23));
    let mut other = KvCache::new(shape()[..1].to_vec(), *cache.config()).unwrap();
    assert_eq!(other.restore(A, &snapshot), Err(KvError::SnapshotMismatch));
}

#[test]
fn head_sizes_that_do_not_fit_the_format_are_refused() {
    let mut config = *cache(1, 1).config();
    config.format = KvFormat::Q8_0;
    assert!(matches!(
        KvCache::new(shape(), config),
        Err(KvError::HeadSize { values: 3, .. })
    ));
    assert!(matches!(
        KvConfig::for_context(&shape(), KvFormat::F32, u32::MAX, usize::MAX),
        Err(KvError::TooLarge { .. })
    ));
}

#[test]
fn pages_hold_whole_tiles_of_keys() {
    let mut config = *cache(1, 1).config();
    for page_positions in [0, 1, 24] {
        config.page_positions = page_positions;
        let refused = KvCache::new(shape(), config).err();
        assert_eq!(refused, Some(KvError::PagePositions(page_positions)));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Append(u8, u8),
    Truncate(u8, u8),
    Fork(u8, u8, u8),
    Release(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..4, 1u8..36).prop_map(|(s, n)| Step::Append(s, n)),
        2 => (0u8..4, any::<u8>()).prop_map(|(s, n)| Step::Truncate(s, n)),
        2 => (0u8..4, 0u8..4, any::<u8>()).prop_map(|(a, b, n)| Step::Fork(a, b, n)),
        1 => (0u8..4).prop_map(Step::Release),
    ]
}

proptest! {
    /// Whatever is done to some sequences, each reads as a list of its own.
    #[test]
    fn sequences_are_independent(steps in proptest::collection::vec(step(), 1..60)) {
        let mut cache = cache(30, 240);
        let mut model: BTreeMap<u8, Vec<f32>> = BTreeMap::new();
        let id = |s: u8| SequenceId(s.into());
        let mut next = 0.0f32;
        for step in steps {
            match step {
                Step::Append(s, n) => {
                    if cache.len(id(s)).is_none() {
                        cache.create(id(s)).unwrap();
                        model.insert(s, vec![]);
                    }
                    let new: Vec<f32> = (0..n).map(|i| next + f32::from(i)).collect();
                    next += f32::from(n);
                    if append(&mut cache, id(s), &new).is_ok() {
                        model.get_mut(&s).unwrap().extend(new);
                    }
                }
                Step::Truncate(s, n) => {
                    if let Some(list) = model.get_mut(&s) {
                        let n = n as usize % (list.len() + 1);
                        let kept = cache.truncate(id(s), n as u32).unwrap() as usize;
                        prop_assert!(kept == n || kept == 0);
                        list.truncate(kept);
                    }
                }
                Step::Fork(a, b, n) => {
                    if let (Some(list), false) = (model.get(&a), model.contains_key(&b)) {
                        let n = n as usize % (list.len() + 1);
                        let kept = cache.fork(id(a), id(b), n as u32).unwrap() as usize;
                        prop_assert!(kept == n || kept == 0);
                        let copy = list[..kept].to_vec();
                        model.insert(b, copy);
                    }
                }
                Step::Release(s) => {
                    cache.release(id(s));
                    model.remove(&s);
                }
            }
            for (&s, list) in &model {
                check(&cache, id(s), list);
            }
        }
        for s in 0..4 {
            cache.release(id(s));
        }
        prop_assert!(cache.is_empty());
        prop_assert_eq!(cache.free_pages(), 30);
    }
}
