//! Changes the JavaScript of a Worker's module so that it can tell when an instance has died.
//!
//! A trap, or a limit of the platform that ends wasm in the middle, may leave the memory of an
//! instance in any state. wasm-bindgen's own glue starts a new instance inside the next callback and
//! then calls it with pointers of the former one. The changed glue
//!
//! - tells `watch` at once that an exception left wasm, and again when the last frame has returned,
//!   which is the moment to start a new instance;
//! - counts the entries that have not returned: more than none at the start of an event means that
//!   the platform ended one;
//! - runs nothing in an instance that has died, and ignores callbacks of a former instance.

use anyhow::ensure;

/// Declarations at the beginning of the module.
const DECLARATIONS: &str = r#"
let __watch_entries = 0;
let __watch_died = false;
let __watch = { died() {}, returned() {} };
/** Sets the functions that are called when an instance dies and when its last frame has returned. */
export function __watch_instance(watch) { __watch = watch; }
/** Number of entries into wasm that have not returned. */
export function __watch_open_entries() { return __watch_entries; }
function __watch_leave() {
    if (--__watch_entries === 0 && __watch_died) __watch.returned();
}
"#;

/// Replacements of parts that occur once: what is found, and what takes its place.
const ONCE: [(&str, &str); 3] = [
    (
        "export function __wbg_reset_state () {\n",
        "export function __wbg_reset_state () {\n    \
         __watch_entries = 0;\n    __watch_died = false;\n",
    ),
    (
        "function __wbg_call_guard() {\n",
        "function __wbg_call_guard() {\n    \
         if (__watch_died) throw new Error('the wasm instance has died');\n",
    ),
    (
        "    getInt32ArrayMemory0()[__wbg_terminated_addr] = 1;\n    __wbg_call_abort_hook();\n",
        "    __watch_died = true;\n    __watch.died(e);\n",
    ),
];

/// Replacements of parts that occur once for each kind of closure.
const PER_CLOSURE: [(&str, &str); 2] = [
    ("throw new Error('Cannot invoke closure from previous WASM instance');", "return;"),
    (
        "if (--state.cnt === 0) {\n",
        "if (--state.cnt === 0 && state.instance === __wbg_instance_id) {\n",
    ),
];

/// Returns the changed module.
///
/// # Errors
/// Fails if the module does not have the form that this version of wasm-bindgen writes.
pub(crate) fn add_watch(module: &str) -> anyhow::Result<String> {
    let mut module = module.to_owned();
    for (found, replacement) in ONCE {
        let count = module.matches(found).count();
        ensure!(count == 1, "the glue has {count} times, not once: {found}");
        module = module.replacen(found, replacement, 1);
    }
    for (found, replacement) in PER_CLOSURE {
        ensure!(module.contains(found), "the glue does not have: {found}");
        module = module.replace(found, replacement);
    }
    let module = count_entries(&module)?;
    let import_end = module.find(";\n").map_or(0, |index| index + 2);
    let (imports, rest) = module.split_at(import_end);
    Ok(format!("{imports}{DECLARATIONS}{rest}"))
}

/// Counts each entry when it begins and when it returns or throws.
fn count_entries(module: &str) -> anyhow::Result<String> {
    const BEGIN: &str = "__wbg_call_guard();\n";
    const END: &str = "__wbg_handle_catch(e);\n";
    let (begins, ends) = (module.matches(BEGIN).count(), module.matches(END).count());
    ensure!(begins > 0 && begins == ends, "{begins} entries begin and {ends} end in the glue");
    let module = module.replace(BEGIN, "__wbg_call_guard(); __watch_entries++;\n");
    let mut counted = String::with_capacity(module.len() + 64 * ends);
    let mut is_catch = false;
    for line in module.lines() {
        counted.push_str(line);
        if is_catch {
            ensure!(line.trim() == "}", "a catch of the glue ends with: {line}");
            counted.push_str(" finally { __watch_leave(); }");
        }
        counted.push('\n');
        is_catch = format!("{}\n", line.trim_start()) == END;
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLUE: &str = "\
import source wasmModule from \"./index_bg.wasm\";
export function __wbg_reset_state () {
    __wbg_instance_id++;
}
function __wbg_handle_catch(e) {
    getInt32ArrayMemory0()[__wbg_terminated_addr] = 1;
    __wbg_call_abort_hook();
    throw e;
}
function __wbg_call_guard() {
}
export function queue(event) {
    __wbg_call_guard();
    try {
        wasm.queue(event);
    } catch(e) {
        __wbg_handle_catch(e);
    }
}
function makeMutClosure() {
            throw new Error('Cannot invoke closure from previous WASM instance');
        if (--state.cnt === 0) {
}
";

    #[test]
    fn each_entry_is_counted_and_left() {
        let module = add_watch(GLUE).unwrap();
        assert!(module.contains("__wbg_call_guard(); __watch_entries++;\n    try {"), "{module}");
        let end = "        __wbg_handle_catch(e);\n    } finally { __watch_leave(); }\n}";
        assert!(module.contains(end), "{module}");
        assert!(module.starts_with("import source wasmModule from \"./index_bg.wasm\";\n\nlet "));
    }

    #[test]
    fn a_glue_of_another_form_is_refused() {
        let part = "    __wbg_call_abort_hook();\n";
        for (name, glue) in [
            ("without the end of an instance", GLUE.replace(part, "")),
            ("with two resets", format!("{GLUE}export function __wbg_reset_state () {{\n")),
            ("with an entry that does not end", format!("{GLUE}    __wbg_call_guard();\n")),
            ("with a longer catch", GLUE.replace("(e);\n    }", "(e);\n        more();\n    }")),
            ("without closures", GLUE.replace("previous WASM instance", "")),
        ] {
            assert!(add_watch(&glue).is_err(), "{name}");
        }
    }
}
