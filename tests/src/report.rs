//! What a comparison found: the table of figures, that of ratios, and the targets.

use crate::measure::{percentile, show_bytes, show_seconds, table};

/// What is measured, one column of the table.
#[derive(Default)]
pub struct Column {
    /// Whose.
    pub name: String,
    /// Seconds of the first capture.
    pub first: Option<f64>,
    /// Seconds over an unchanged tree.
    pub unchanged: Option<f64>,
    /// Seconds after the edit of one line.
    pub edit: Option<f64>,
    /// Bytes that the store grew by it.
    pub edit_store: Option<f64>,
    /// Seconds to restore everything.
    pub restore_all: Option<f64>,
    /// Seconds to restore one file.
    pub restore_one: Option<f64>,
    /// Peak memory of whoever captures, in bytes.
    pub memory_save: Option<f64>,
    /// Peak memory of whoever restores, in bytes.
    pub memory_restore: Option<f64>,
    /// Bytes that the store occupies.
    pub store: Option<f64>,
    /// Why figures are missing.
    pub problem: Option<String>,
}

/// What only asof has.
#[derive(Default)]
pub struct Extra {
    /// Bytes that `segments/` grew by the edit of one line.
    pub edit_segments: Option<f64>,
    /// Bytes in `segments/`.
    pub segments: Option<f64>,
    /// From close to durable, a save each.
    pub saves_ms: Vec<f64>,
    /// Places in which what was restored differs from the tree.
    pub differences: usize,
}

type Row = (&'static str, fn(&Column) -> Option<f64>, fn(f64) -> String);

const ROWS: [Row; 9] = [
    ("first capture", |column| column.first, show_seconds),
    ("no change", |column| column.unchanged, show_seconds),
    ("one-line edit", |column| column.edit, show_seconds),
    ("one-line edit, store grew", |column| column.edit_store, show_bytes),
    ("restore of everything", |column| column.restore_all, show_seconds),
    ("restore of one file", |column| column.restore_one, show_seconds),
    ("peak memory, capture", |column| column.memory_save, show_bytes),
    ("peak memory, restore", |column| column.memory_restore, show_bytes),
    ("store", |column| column.store, show_bytes),
];

/// Prints the figures, the ratios, what is missing and why, and the targets.
pub fn report(columns: &[Column], extra: &Extra) {
    let asof = &columns[0];
    let head = |first: &str, from: usize| -> Vec<String> {
        [first.to_string()]
            .into_iter()
            .chain(columns[from..].iter().map(|column| column.name.clone()))
            .collect()
    };
    let mut figures = vec![head("", 0)];
    let mut ratios = vec![head("asof's figure by", 1)];
    for (name, value, show) in ROWS {
        let shown = columns.iter().map(|column| value(column).map_or("-".into(), show));
        figures.push([name.to_string()].into_iter().chain(shown).collect());
        let by = columns[1..]
            .iter()
            .map(|column| ratio(value(asof), value(column)).map_or("-".into(), |by| format!("{by:.2}")));
        ratios.push([name.to_string()].into_iter().chain(by).collect());
    }
    println!("\n{}\n{}", table(&figures), table(&ratios));
    println!(
        "asof: first capture = asofd started until `sync` returned; no change = restart until protecting; one-line edit = write until `sync` returned."
    );
    println!(
        "The others: until the program returned (tar and cp leave their data unwritten then), with `init` in the first capture. A store is what `du` counts of it, asof's index included.\nA restore of everything is the fastest of three, for every program alike."
    );
    for column in columns.iter().filter(|column| column.problem.is_some()) {
        println!("{}: {}", column.name, column.problem.as_deref().unwrap_or_default());
    }
    let restic = columns.iter().find(|column| column.name == "restic");
    let restic = |value: fn(&Column) -> Option<f64>| ratio(value(asof), restic.and_then(value));
    let p99 = percentile(&extra.saves_ms, 99.0);
    let show_ms =
        |percent| percentile(&extra.saves_ms, percent).map_or("-".into(), |ms| format!("{ms:.1} ms"));
    println!(
        "{} saves of a small file, close to durable: p50 {}, p99 {}, max {}; segments {}",
        extra.saves_ms.len(),
        show_ms(50.0),
        show_ms(99.0),
        show_ms(100.0),
        extra.segments.map_or("-".into(), show_bytes)
    );
    println!("asof's restore differs from the tree in {} places\n", extra.differences);

    let by = |value: f64| format!("{value:.2} of restic");
    let ms = |value: f64| format!("{value:.1} ms");
    let mut targets = vec![["target", "at most", "measured", ""].map(String::from).to_vec()];
    let mut target = |name: &str, limit: f64, measured: Option<f64>, show: &dyn Fn(f64) -> String| {
        let verdict = match measured {
            Some(value) if value <= limit => "met",
            Some(_) => "NOT MET",
            None => "NOT MEASURED",
        };
        targets.push(vec![name.into(), show(limit), measured.map_or("-".into(), show), verdict.into()]);
    };
    target("first capture until durable", 0.7, restic(|column| column.first), &by);
    target("restore of everything", 0.4, restic(|column| column.restore_all), &by);
    target("store", 0.9, restic(|column| column.store), &by);
    target("restart until protecting", 0.7, restic(|column| column.unchanged), &by);
    target("one-line edit, segments/ grew", 4096.0, extra.edit_segments, &|bytes| format!("{bytes:.0} B"));
    target("agent's peak memory", 200.0 * 1024.0 * 1024.0, asof.memory_save, &show_bytes);
    target("save to durable, p99", 300.0, p99, &ms);
    println!("{}", table(&targets));
}

fn ratio(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    let (one, other) = (one?, other?);
    (other != 0.0).then_some(one / other)
}
