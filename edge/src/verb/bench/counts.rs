//! Lists of numbers as llama-bench takes them.

/// Numbers in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counts(pub(super) Vec<usize>);

/// Most numbers in a list; keeps a mistyped range from filling the memory.
const COUNTS_MAX: usize = 1000;

/// Reads `1,4,8`, and ranges `FIRST-LAST`, `FIRST-LAST+STEP` and
/// `FIRST-LAST*FACTOR`.
pub(super) fn parse(text: &str) -> Result<Counts, String> {
    let mut counts = Vec::new();
    for piece in text.split(',') {
        push_range(piece, &mut counts)?;
        if counts.len() > COUNTS_MAX {
            return Err(format!("more than {COUNTS_MAX} numbers"));
        }
    }
    Ok(Counts(counts))
}

/// As [`parse`], without 0.
pub(super) fn parse_positive(text: &str) -> Result<Counts, String> {
    let counts = parse(text)?;
    if counts.0.contains(&0) {
        return Err("each number must be at least 1".into());
    }
    Ok(counts)
}

fn push_range(piece: &str, counts: &mut Vec<usize>) -> Result<(), String> {
    let number = |text: &str| {
        let number = text.parse::<u32>();
        number.map(|n| n as usize).map_err(|_| {
            "a list has numbers such as 1,4,8 and ranges such as 512-2048+512 or 1-32*2".to_owned()
        })
    };
    let Some((first, rest)) = piece.split_once('-') else {
        counts.push(number(piece)?);
        return Ok(());
    };
    let (last, step, factor) = if let Some((last, step)) = rest.split_once('+') {
        (last, number(step)?, 1)
    } else if let Some((last, factor)) = rest.split_once('*') {
        (last, 0, number(factor)?)
    } else {
        (rest, 1, 1)
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last || first * factor + step <= first {
        return Err(format!("the range `{piece}` does not rise"));
    }
    let mut next = first;
    while next <= last && counts.len() <= COUNTS_MAX {
        counts.push(next);
        next = next * factor + step;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        let of = |text| parse(text).map(|counts| counts.0);
        assert_eq!(of("512"), Ok(vec![512]));
        assert_eq!(of("8,1,8"), Ok(vec![8, 1, 8]));
        assert_eq!(of("1-3"), Ok(vec![1, 2, 3]));
        assert_eq!(of("0-256+128,7"), Ok(vec![0, 128, 256, 7]));
        assert_eq!(of("1-20*2"), Ok(vec![1, 2, 4, 8, 16]));
        assert_eq!(of("5-5"), Ok(vec![5]));
    }

    #[test]
    fn what_is_no_list_is_said() {
        for text in ["", "a", "1,", "-1", "1-", "1-2+", "1-2*x", "99999999999"] {
            assert!(parse(text).unwrap_err().contains("ranges"), "{text}");
        }
        for text in ["3-1", "1-9*1", "0-9*2", "1-9+0", "1-9*0"] {
            assert!(parse(text).unwrap_err().contains("rise"), "{text}");
        }
        assert!(parse("1-2000").unwrap_err().contains("1000"));
        assert_eq!(
            parse_positive("1,0"),
            Err("each number must be at least 1".into())
        );
    }
}
