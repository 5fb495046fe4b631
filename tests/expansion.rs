//! Checks what `cargo expand` shows of the example: a short function for each handler, without logic of its own.

use std::process::Command;

/// The most lines that an expansion may have, so that it stays readable.
const PAGE: usize = 60;

/// The example's handlers as `cargo expand` prints them.
fn expanded() -> String {
    let output = Command::new(env!("CARGO"))
        .args(["expand", "--color=never", "--theme=none", "--package", "payments", "--example", "payments", "handlers"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`cargo expand` failed; if it is not installed: `cargo install cargo-expand --locked`\n{errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A function at the level of the module, to its closing brace, without the module's indentation.
fn function<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    // A wrapper is a plain function, so `async` is optional here.
    let starts = ["", "async "].map(|asynchronous| format!("    pub(crate) {asynchronous}fn {name}("));
    let lines = code.lines().skip_while(|line| !starts.iter().any(|start| line.starts_with(start)));
    let mut function: Vec<_> = lines.take_while(|line| *line != "    }").collect();
    assert!(!function.is_empty(), "no `{name}` in\n{code}");
    function.push("    }");
    function.iter().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect()
}

#[test]
fn the_example_expands_to_wrappers_that_a_reader_can_take_in() {
    let code = expanded();

    let payment = function(&code, "create_payment").join("\n");
    assert!(
        include_str!("../docs/attributes.md").contains(&format!("\n{payment}\n")),
        "docs/attributes.md shows another expansion than `cargo expand` prints:\n{payment}"
    );

    let protected = code.matches("static __POLICY").count();
    assert_eq!(protected, include_str!("../examples/payments/handlers.rs").matches("#[idempotent").count());
    for name in ["create_payment", "refund_payment", "withdraw", "charge_card"] {
        let lines = function(&code, name);
        assert!(lines.len() <= PAGE, "{name} has {} lines", lines.len());
        // The user may know axum by another name.
        assert!(!lines.iter().any(|line| line.contains("::axum::")), "{name} names axum");
    }

    let unprotected = function(&code, "notify").join("\n");
    assert!(!unprotected.contains("idempotent"), "a handler without the attribute is left alone: {unprotected}");
}
