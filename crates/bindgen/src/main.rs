//! Writes the JavaScript around a wasm module: `bindgen worker|page NAME INPUT.wasm DIR`.
//!
//! The output is `NAME.js` and `NAME_bg.wasm` in DIR. A Worker imports its module with `import
//! source` and can replace an instance that died (`crates/wasm-host/recovery.js`). A page fetches
//! its module and also gets types, `NAME.d.ts`. The exit status is 2 on any error.

mod instance_watch;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bindgen: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, name, input, folder] = arguments.as_slice() else {
        bail!("{} arguments, not 4: worker|page NAME INPUT.wasm DIR", arguments.len());
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).out_name(name).remove_name_section(true);
    match target.as_str() {
        "worker" => bindgen
            .module(true)?
            .typescript(false)
            .reset_state_function(true)
            .force_enable_abort_handler(true),
        // The page's script loads the module that lies beside it, unless the page names another.
        "page" => bindgen
            .web(true)?
            .typescript(true)
            .omit_default_module_path(false)
            .remove_producers_section(true),
        other => bail!("`{other}` is neither `worker` nor `page`"),
    };
    bindgen.generate(folder).with_context(|| input.clone())?;
    if target == "worker" {
        let path = Path::new(folder).join(format!("{name}.js"));
        let module = fs::read_to_string(&path)?;
        let module = instance_watch::add_watch(&module).with_context(|| name.clone())?;
        fs::write(&path, module)?;
    }
    Ok(())
}
