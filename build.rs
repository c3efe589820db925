//! Refuses to build a server without its pages: they are made by npm, and a binary must never carry a stub by accident.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    // Missing files are watched too: cargo then looks again at the next build.
    println!("cargo::rerun-if-changed={DIST}");
    let missing: Vec<&str> = PAGES.into_iter().filter(|page| !Path::new(DIST).join(page).is_file()).collect();
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!(
        "cargo::error=the web pages are not built ({DIST} lacks {}); run scripts/build-web (npm ci && npm run build in static/)",
        missing.join(", ")
    );
    ExitCode::FAILURE
}

const DIST: &str = "static/dist";
const PAGES: [&str; 5] = ["watch.html", "embed.html", "home.html", "publish.html", "admin.html"];
