//! The program `neighbours` measures every side of every table, and says what it was not asked rightly.

use std::process::{Command, Output};

fn neighbours(args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_neighbours"))
        .args(args.split_whitespace())
        .output()
        .unwrap()
}

#[test]
fn every_side_has_every_figure() {
    let output =
        neighbours("--backend zero,hyper --runs 1 --seconds 0.2 --idle-seconds 0.2 --rate 200");
    let shown = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{said}");
    let tables: Vec<&str> = shown.split("\n\n| | ").skip(1).collect();
    let sides = [2, 2, 2, 8];
    assert_eq!(tables.len(), sides.len(), "{shown}");
    for (table, sides) in tables.into_iter().zip(sides) {
        let (figures, rows) = table.split_once("|\n|---|").unwrap();
        let rows: Vec<&str> = rows
            .lines()
            .skip(1)
            .filter(|row| row.starts_with('|'))
            .collect();
        assert_eq!(rows.len(), sides, "{shown}");
        let kinds: Vec<&str> = figures.split(" | ").map(str::trim).collect();
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 1 + figures.split(" | ").count(), "{row}");
            for cell in &cells[1..] {
                let figure: f64 = cell.parse().unwrap_or_else(|_| panic!("{row}"));
                assert!(figure.is_finite() && figure >= 0.0, "{row}");
            }
            for (kind, cell) in kinds.iter().zip(&cells[1..]) {
                // Of a server that nobody asks, nothing is right.
                assert!(
                    *kind == "CPU %" || cell.parse::<f64>().unwrap() > 0.0,
                    "{row}"
                );
                assert!(
                    !kind.ends_with("its %") || cell.parse::<f64>().unwrap() <= 101.0,
                    "{row}"
                );
            }
        }
    }
}

#[test]
fn what_it_does_not_know_it_refuses() {
    for (args, says) in [
        (
            "--table routs",
            "no table \"routs\"; there are idle, steady",
        ),
        ("--backend zeor", "no backend \"zeor\""),
        ("--runs 0", "nothing to measure"),
    ] {
        let output = neighbours(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains(says),
            "{args}: {said}"
        );
    }
}
