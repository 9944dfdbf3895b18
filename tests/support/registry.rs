//! Debian's docker-registry on loopback, and images for it that skopeo brings there.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use goatbuild::oci::{Compression, ImageSpec, LayerRef, Layout, write_image};
use goatbuild::platform::Architecture;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::debian::DebianRoot;
use super::project::Project;
use super::project::ran;

/// Who may use the registry that asks, and the line of its htpasswd (bcrypt, cost 5).
pub(crate) const USER: &str = "goat";
pub(crate) const PASSWORD: &str = "hush-hush";
const HTPASSWD: &str = "goat:$2y$05$abcdefghijklmnopqrstuu4uoW5CdSDmY8cLkib7pLDRBlvRVo8Pe\n";

/// A running registry; dropping it stops it.
pub(crate) struct DockerRegistry {
    child: Child,
    directory: TempDir,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
}

impl DockerRegistry {
    /// A registry for everybody; `None`, loudly, when it can't be had.
    pub(crate) fn open() -> Option<Self> {
        Self::start(false)
    }

    /// A registry that wants [`USER`] and [`PASSWORD`].
    pub(crate) fn guarded() -> Option<Self> {
        Self::start(true)
    }

    fn start(guarded: bool) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let host = format!("127.0.0.1:{port}");
        let child = Self::launch(directory.path(), &host, guarded, false)?;
        Some(Self { child, directory, host })
    }

    /// Starts it again, for everybody, on what it has: from now on it takes nothing.
    pub(crate) fn read_only(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let again = Self::launch(self.directory.path(), &self.host, false, true);
        self.child = again.expect("it was had before");
    }

    /// Deletes the tags of a repository, as owners and rules of retention do; the images stay.
    pub(crate) fn untag(&self, repository: &str) {
        let below = format!("data/docker/registry/v2/repositories/{repository}/_manifests/tags");
        fs::remove_dir_all(self.directory.path().join(below)).expect("tags");
    }

    fn launch(directory: &Path, host: &str, guarded: bool, read_only: bool) -> Option<Child> {
        let program = DebianRoot::of("docker-registry")?;
        let htpasswd = directory.join("htpasswd");
        fs::write(&htpasswd, HTPASSWD).expect("a file");
        let mut config = json!({
            "version": 0.1,
            "log": { "level": "info" },
            "storage": {
                "filesystem": { "rootdirectory": directory.join("data") },
                "delete": { "enabled": true },
                "maintenance": { "readonly": { "enabled": read_only } },
            },
            "http": { "addr": host },
        });
        if guarded {
            config["auth"] = json!({ "htpasswd": { "realm": "test", "path": htpasswd } });
        }
        // JSON is YAML.
        let file = directory.join("config.yml");
        fs::write(&file, config.to_string()).expect("a file");
        let log = fs::File::create(directory.join("log")).expect("a log");
        let mut command = program.command("usr/bin/docker-registry");
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the registry starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(host).is_err() {
            let said = || fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "no registry: {}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(child)
    }

    /// What it logged: among others every request, with method, path and status.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// How many requests it answered whose log line holds all of these.
    pub(crate) fn answered(&self, words: &[&str]) -> usize {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("response completed"));
        lines.filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// Copies an image there, under `name`; more arguments go to skopeo.
    pub(crate) fn take(&self, from: &str, name: &str, arguments: &[&str]) {
        let to = format!("docker://{}/{name}", self.host);
        let user = format!("{USER}:{PASSWORD}");
        let mut all = vec!["copy", "--dest-tls-verify=false", "--dest-creds", &user];
        all.extend(arguments);
        all.extend([from, &to]);
        skopeo(&all).expect("skopeo was had before");
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs skopeo to its good end; `None`, loudly, when it can't be had.
pub(crate) fn skopeo(arguments: &[&str]) -> Option<String> {
    let skopeo = DebianRoot::of("skopeo")?;
    let home = tempfile::tempdir().expect("a directory");
    let mut command: Command = skopeo.command("usr/bin/skopeo");
    command.arg("--insecure-policy").args(arguments);
    command.env("HOME", home.path()).env("REGISTRY_AUTH_FILE", home.path().join("auth.json"));
    Some(ran(&mut command).done())
}

/// A layout with images for bases, made of layers that are there.
pub(crate) struct Bases {
    directory: TempDir,
    layout: Layout,
}

impl Bases {
    /// An empty one, beside `near` so that blobs can be linked.
    pub(crate) fn new(near: &Path) -> Self {
        let directory = tempfile::tempdir_in(near).expect("a directory");
        let layout = Layout::open(&directory.path().join("oci")).expect("a layout");
        Self { directory, layout }
    }

    /// The layout's directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("oci")
    }

    /// What skopeo calls an image in it.
    pub(crate) fn name(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.path().display())
    }

    /// Links the blob of a layer into it, from another layout.
    pub(crate) fn link(&self, from: &Path, digest: &str) {
        let digits = digest.trim_start_matches("sha256:");
        let to = self.path().join("blobs/sha256").join(digits);
        if !to.exists() {
            fs::hard_link(from.join("blobs/sha256").join(digits), to).expect("a link");
        }
    }

    /// A layer with these files, uncompressed.
    pub(crate) fn layer(&self, files: &[(&str, &str)]) -> LayerRef {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, content.as_bytes()).expect("an entry");
        }
        let bytes = builder.into_inner().expect("an archive");
        let mut writer = self.layout.blobs().writer().expect("a writer");
        writer.write_all(&bytes).expect("written");
        let (digest, size) = writer.commit().expect("a blob");
        let compression = Compression::None;
        LayerRef { diff_id: digest, digest, size, compression, created_by: "t".to_owned() }
    }

    /// Tags an image of these layers; returns its manifest's digest.
    pub(crate) fn image(
        &self,
        tag: &str,
        architecture: Architecture,
        layers: Vec<LayerRef>,
        env: &[&str],
    ) -> String {
        let spec = ImageSpec {
            architecture,
            epoch: 0,
            layers,
            base_env: env.iter().map(|&line| line.to_owned()).collect(),
            env: std::collections::BTreeMap::new(),
            entrypoint: vec!["/entry".to_owned()],
            cmd: Vec::new(),
            settings: goatbuild::lock::BaseSettings::default(),
            annotations: std::collections::BTreeMap::new(),
        };
        let digest = write_image(&self.layout, &spec).expect("an image");
        self.layout.tag(tag, digest).expect("a tag");
        digest.to_string()
    }

    /// Tags an index of images that are there; returns its digest.
    pub(crate) fn index(&self, tag: &str, tags: &[&str]) -> String {
        let path = self.path().join("index.json");
        let mut top: Value =
            serde_json::from_slice(&fs::read(&path).expect("an index")).expect("JSON");
        let all = top["manifests"].as_array_mut().expect("manifests");
        let name = "org.opencontainers.image.ref.name";
        let of = |tag: &&str| all.iter().find(|it| it["annotations"][name] == **tag).cloned();
        let mut entries: Vec<Value> = tags.iter().filter_map(of).collect();
        for entry in &mut entries {
            entry.as_object_mut().expect("an entry").remove("annotations");
        }
        let media = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media, "manifests": entries });
        let text = index.to_string();
        let digest = self.layout.blobs().put(text.as_bytes()).expect("a blob");
        all.push(json!({
            "mediaType": media, "digest": digest, "size": text.len(), "annotations": { name: tag },
        }));
        fs::write(&path, top.to_string()).expect("an index");
        digest.to_string()
    }
}

/// The files of the image whose base is asked for.
pub(crate) fn image_file(base: &str, more: &str) -> String {
    format!("base = \"{base}\"\nrequirements = []\n{more}")
}

/// The Debian base of the project's own image, as it was built: a real base with Python 3.11.
pub(crate) fn debian(project: &Project, bases: &Bases) -> LayerRef {
    let lock: toml::Value = toml::from_str(&project.read("goatbuild.lock")).expect("TOML");
    let facts = &lock["built"]["base:tiny"]["facts"];
    let fact = |name: &str| facts[name].as_str().expect("a fact").to_owned();
    let digest = fact("digest");
    bases.link(&project.root().join("cache/oci"), &digest);
    LayerRef {
        diff_id: fact("diff-id").parse().expect("a digest"),
        size: fact("size").parse().expect("a size"),
        digest: digest.parse().expect("a digest"),
        compression: Compression::Gzip,
        created_by: "debian".to_owned(),
    }
}

/// Removes what the project built and locked, but not its wheels and their lock.
pub(crate) fn forget(project: &Project) {
    let _ = fs::remove_dir_all(project.root().join("cache/oci"));
    let _ = fs::remove_dir_all(project.root().join("cache/bases"));
    let _ = fs::remove_file(project.root().join("cache/state.db"));
    let _ = fs::remove_file(project.root().join("goatbuild.lock"));
}
