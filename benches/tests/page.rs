//! The report page as a browser shows it: at the width of a phone and of a desk, light and dark, it is not
//! empty, its pictures are drawn, and nothing has to be scrolled to from the side.
//!
//! Needs Chromium, and passes with a word where there is none.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zero_bench::compare::figures::Figures;
use zero_bench::compare::record::{Record, Run, SubjectRecord};
use zero_bench::compare::subject::find_program;
use zero_bench::page::{self, COLOURS, svg::escape};

/// Widths of a phone and of a desk, in CSS pixels.
const WIDTHS: [u32; 2] = [390, 1280];
/// No picture is taken of what lies deeper, in CSS pixels.
const DEPTH: u32 = 12_000;
/// The page is looked at in so many bands from its top to its end.
const BANDS: usize = 12;
/// Pixels of a band that are not its ground, at least, of a thousand: a line of text has twenty.
const INK_PER_MILLE: usize = 4;
/// Pixels in a subject's colour, at least: a curve, its bars and its mark in the legend.
const DRAWN: usize = 500;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Scheme {
    Light,
    Dark,
}

/// What a browser makes of a page.
struct Look {
    scroll_width: u32,
    picture: Picture,
}

struct Picture {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

fn recorded() -> Record {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded.json");
    Record::read(&path).expect("a record of this version")
}

fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut found = names.iter().filter_map(|name| find_program(name));
    // Some systems have a program of that name which only says how to get the browser.
    let found = found.find(|browser| {
        let trial = bounded(browser)
            .args(["--dump-dom", "about:blank"])
            .output();
        trial.is_ok_and(|trial| trial.status.success())
    });
    if found.is_none() {
        eprintln!("SKIPPED: no browser; run: apt-get install chromium");
    }
    found
}

/// A browser without a window that asks nobody for anything, and is ended if it hangs.
fn bounded(browser: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg("120").arg(browser).args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]);
    command.stdin(Stdio::null());
    command
}

#[test]
fn the_page_can_be_read_on_a_phone_and_on_a_desk_by_day_and_by_night() {
    let Some(browser) = browser() else { return };
    let record = recorded();
    let page = page::render(&record, &Figures::of(&record));
    for width in WIDTHS {
        for scheme in [Scheme::Light, Scheme::Dark] {
            let look = look(&browser, &page, width, scheme);
            let fault = fault(&look, width, scheme, record.subjects.len());
            assert_eq!(fault, None, "{width} px, {scheme:?}");
        }
    }
}

/// A report of as many sides as there are colours: each of them is seen.
#[test]
fn a_page_of_twelve_sides_draws_every_one() {
    let Some(browser) = browser() else { return };
    let mut record = recorded();
    record.against = None;
    // Those that serve everything, again and again.
    for side in record.subjects.len()..COLOURS {
        let same = side % 2;
        let label = format!("side {side}");
        record.subjects.push(SubjectRecord {
            label,
            ..record.subjects[same].clone()
        });
        for case in &mut record.cases {
            let again = |of: &mut Vec<Vec<Run>>| of.push(of[same].clone());
            again(&mut case.closed);
            case.paced
                .iter_mut()
                .for_each(|paced| again(&mut paced.runs));
            case.counts.push(case.counts[same].clone());
        }
    }
    let page = page::render(&record, &Figures::of(&record));
    for scheme in [Scheme::Light, Scheme::Dark] {
        let look = look(&browser, &page, 1280, scheme);
        assert_eq!(fault(&look, 1280, scheme, COLOURS), None, "{scheme:?}");
    }
}

/// No two sides look alike, and none like the ground, to an eye: by the distance of Björn Ottosson's OKLab.
#[test]
fn the_colours_of_sides_can_be_told_apart() {
    for (scheme, ground) in [
        (Scheme::Light, [255, 255, 255]),
        (Scheme::Dark, [30, 33, 36]),
    ] {
        let mut seen = vec![ground];
        for side in 0..COLOURS {
            let colour = colour_of(side, scheme);
            for other in &seen {
                let apart = oklab(colour)
                    .iter()
                    .zip(oklab(*other))
                    .map(|(a, b)| (a - b).powi(2))
                    .sum::<f64>()
                    .sqrt();
                assert!(
                    apart > 0.08,
                    "{scheme:?}: {colour:?} and {other:?} are {apart:.3} apart"
                );
            }
            seen.push(colour);
        }
    }
}

fn oklab(colour: [u8; 3]) -> [f64; 3] {
    let [r, g, b] = colour.map(|c| match f64::from(c) / 255.0 {
        c if c <= 0.04045 => c / 12.92,
        c => ((c + 0.055) / 1.055).powf(2.4),
    });
    let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
    let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
    let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
    [
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    ]
}

/// The check above can fail.
#[test]
fn pages_without_pictures_text_or_bounds_are_found_out() {
    let Some(browser) = browser() else { return };
    let record = recorded();
    let sides = record.subjects.len();
    let page = page::render(&record, &Figures::of(&record));
    let of = |page: &str| {
        fault(
            &look(&browser, page, 390, Scheme::Light),
            390,
            Scheme::Light,
            sides,
        )
    };
    let undrawn = page.replace("<path", "<g").replace("<rect", "<g");
    let too_wide = page.replace("<main>", "<main style=\"width:700px\">");
    let empty = "<!doctype html><title>x</title><body style=\"background:#fbfaf8\">";
    for (page, expected) in [(&*undrawn, "colour"), (&too_wide, "wide"), (empty, "band")] {
        let fault = of(page).expect(expected);
        assert!(fault.contains(expected), "{fault}");
    }
}

/// What is wrong with a page, if anything.
fn fault(look: &Look, width: u32, scheme: Scheme, sides: usize) -> Option<String> {
    if look.scroll_width > width {
        return Some(format!("it is {} px wide", look.scroll_width));
    }
    let Picture { width, pixels } = &look.picture;
    let ground = pixels[0];
    let brightness = ground.iter().map(|c| u32::from(*c)).sum::<u32>() / 3;
    if (brightness > 128) != (scheme == Scheme::Light) {
        return Some(format!("its ground is {ground:?}"));
    }
    let rows = pixels.len() / width;
    for band in pixels.chunks(rows.div_ceil(BANDS) * width) {
        let ink = band.iter().filter(|p| distance(**p, ground) > 60).count();
        if 1000 * ink < INK_PER_MILLE * band.len() {
            return Some(format!("a band has {ink} pixels of ink in {}", band.len()));
        }
    }
    (0..sides).find_map(|side| {
        let colour = colour_of(side, scheme);
        let drawn = pixels.iter().filter(|p| distance(**p, colour) < 12).count();
        (drawn < DRAWN).then(|| format!("{drawn} pixels have the colour of side {side}"))
    })
}

fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b))).sum()
}

/// The style sheet's colour of a side: it names those for light grounds first.
fn colour_of(side: usize, scheme: Scheme) -> [u8; 3] {
    let style = include_str!("../src/page/style.css");
    let name = format!("--c{side}: #");
    let nth = usize::from(scheme == Scheme::Dark);
    let hex = style.split(&*name).nth(1 + nth).expect("a colour");
    let part = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("six digits");
    [part(0), part(2), part(4)]
}

/// Has the page shown in a frame of that width: a browser's window would not be as narrow as a phone.
fn look(browser: &Path, page: &str, width: u32, scheme: Scheme) -> Look {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "page-{width}-{scheme:?}-{:?}",
        std::thread::current().id()
    ));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let framed = |height: u32| {
        let page = escape(page);
        format!(
            "<!doctype html><body style=\"margin:0\"><iframe id=\"f\" width=\"{width}\" height=\"{height}\" \
             style=\"border:0;display:block\" srcdoc=\"{page}\"></iframe><script>f.onload = () => {{ \
             const root = f.contentDocument.documentElement; \
             document.title = 'size ' + root.scrollWidth + ' ' + root.scrollHeight + ' end'; }}</script>"
        )
    };
    let file = folder.join("frame.html");
    let show = |height: u32, arguments: &[&str]| -> String {
        fs::write(&file, framed(height)).expect("the target folder can be written");
        let mut command = bounded(browser);
        command
            .args([
                "--hide-scrollbars",
                "--force-color-profile=srgb",
                "--force-device-scale-factor=1",
            ])
            .arg(format!("--user-data-dir={}", folder.join("user").display()))
            .arg(format!("--window-size={width},{height}"))
            .arg(format!(
                "--blink-settings=preferredColorScheme={}",
                u8::from(scheme == Scheme::Light)
            ))
            .args(arguments)
            .arg(format!("file://{}", file.display()));
        let output = command.output();
        let output = output.expect("the browser can be run");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let shown = show(800, &["--virtual-time-budget=2000", "--dump-dom"]);
    let size = shown
        .split("<title>size ")
        .nth(1)
        .expect("the frame's size");
    let mut sizes = size.split(' ').map_while(|n| n.parse::<u32>().ok());
    let (scroll_width, height) = (
        sizes.next().expect("a width"),
        sizes.next().expect("a height"),
    );
    let picture = folder.join("page.png");
    let shot = format!("--screenshot={}", picture.display());
    show(height.min(DEPTH), &[&shot]);
    Look {
        scroll_width,
        picture: decode(&picture),
    }
}

fn decode(path: &Path) -> Picture {
    let file = fs::File::open(path).expect("the browser wrote it");
    let mut reader = png::Decoder::new(BufReader::new(file))
        .read_info()
        .expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("not too large")];
    let frame = reader.next_frame(&mut bytes).expect("a picture");
    let samples = frame.color_type.samples();
    let bytes = &bytes[..frame.buffer_size()];
    Picture {
        width: frame.width as usize,
        pixels: bytes.chunks(samples).map(|p| [p[0], p[1], p[2]]).collect(),
    }
}
