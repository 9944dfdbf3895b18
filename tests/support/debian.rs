//! Programs out of Debian packages, run from a directory: nothing is installed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use goatbuild::debian::{BaseLayout, DebianRequest, Mirrors, fetch_packages, resolve};
use goatbuild::event::Reporter;
use goatbuild::fetch::{Fetcher, Patience};
use goatbuild::platform::Architecture;

use super::peers;

/// A directory with a package of bookworm and all it depends on, unpacked and never configured.
#[derive(Debug)]
pub(crate) struct DebianRoot {
    root: PathBuf,
}

impl DebianRoot {
    /// The root of one package, made if it isn't there; `None`, loudly, when it cannot be had.
    pub(crate) fn of(package: &str) -> Option<Self> {
        match try_root(package) {
            Ok(root) => Some(root),
            Err(reason) => {
                peers::skipped(package, &reason);
                None
            }
        }
    }

    /// The same, for who says himself why it cannot be had.
    pub(crate) fn try_of(package: &str) -> Result<Self, String> {
        try_root(package)
    }

    /// One of its files or directories.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// One of its programs, started by the root's own loader.
    pub(crate) fn command(&self, program: &str) -> Command {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let libraries = ["lib", "usr/lib"].map(|lib| self.root.join(lib).join(&triplet));
        let loader = match host() {
            Architecture::Amd64 => "ld-linux-x86-64.so.2",
            Architecture::Arm64 => "ld-linux-aarch64.so.1",
        };
        // The link in /lib64 is absolute and would lead out of the root.
        let mut command = Command::new(libraries[0].join(loader));
        command
            .arg("--library-path")
            .arg(std::env::join_paths(&libraries).unwrap())
            .arg(self.root.join(program));
        command
    }
}

fn host() -> Architecture {
    if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::Amd64 }
}

fn try_root(package: &str) -> Result<DebianRoot, String> {
    let word = |error: io::Error| error.to_string();
    let directory = peers::directory();
    fs::create_dir_all(&directory).map_err(word)?;
    // Two packages share what they depend on, and where that is kept.
    let lock = File::create(directory.join("debs.lock")).map_err(word)?;
    lock.lock().map_err(word)?;
    let root = directory.join(format!("{package}-root"));
    let stamp = directory.join(format!("{package}.version"));
    if stamp.exists() {
        return Ok(DebianRoot { root });
    }
    let request = DebianRequest {
        suite: "bookworm".to_owned(),
        packages: vec![package.to_owned()],
        architecture: host(),
        // A program needs no system around it.
        layout: BaseLayout::First,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(word)?;
    let (locked, debs) = runtime
        .block_on(async {
            let fetcher = Fetcher::new(false, Patience::default());
            let (mirrors, silent) = (Mirrors::default(), Reporter::silent());
            let locked = resolve(&fetcher, &mirrors, &request, None, &silent).await?;
            let into = directory.join("debs");
            let debs = fetch_packages(&fetcher, &mirrors, &locked, &into, &silent).await?;
            Ok::<_, goatbuild::debian::DebianError>((locked, debs))
        })
        .map_err(|error| error.to_string())?;
    let _ = fs::remove_dir_all(&root);
    for deb in &debs {
        unpack(deb, &root).map_err(|error| format!("{}: {error}", deb.display()))?;
    }
    let found = locked.packages.iter().find(|locked| locked.name == package);
    let version = found.map(|locked| locked.version.clone()).unwrap_or_default();
    fs::write(&stamp, &version).map_err(word)?;
    Ok(DebianRoot { root })
}

/// Unpacks the data of one package plainly: no merging, no scripts.
fn unpack(deb: &Path, into: &Path) -> io::Result<()> {
    let mut archive = BufReader::new(File::open(deb)?);
    archive.read_exact(&mut [0; 8])?;
    loop {
        let mut header = [0; 60];
        archive.read_exact(&mut header)?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let size: u64 = header[48..58].trim().parse().map_err(io::Error::other)?;
        let mut member = archive.by_ref().take(size);
        match header[..16].trim_end().trim_end_matches('/') {
            "data.tar.xz" => {
                let inflated = liblzma::read::XzDecoder::new_multi_decoder(member);
                return tar::Archive::new(inflated).unpack(into);
            }
            "data.tar.gz" => {
                let inflated = flate2::read::MultiGzDecoder::new(member);
                return tar::Archive::new(inflated).unpack(into);
            }
            _ => io::copy(&mut member, &mut io::sink())?,
        };
        io::copy(&mut archive.by_ref().take(size % 2), &mut io::sink())?;
    }
}
