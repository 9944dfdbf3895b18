use super::*;

#[test]
#[ignore]
fn dev() {
    let root = std::path::PathBuf::from(std::env::var("VLLM_SRC").unwrap());
    let mut files = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for round in 0..8 {
        let reading = read(&files, "vllm", "0");
        let mut more = false;
        for module in reading.wanted {
            let path = module.replace('.', "/");
            for path in [format!("{path}/__init__.py"), format!("{path}.py")] {
                if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
                    more |= files.insert(path, text).is_none();
                    missing.remove(&module);
                    break;
                }
                missing.insert(module.clone());
            }
        }
        eprintln!("round {round}: {} files", files.len());
        if !more {
            println!("{}", toml::to_string(&reading.engine).unwrap());
            eprintln!("{:?}", files.keys());
            eprintln!("missing {missing:?}");
            break;
        }
    }
}
