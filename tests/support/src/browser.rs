//! A headless Chromium, controlled by the W3C's WebDriver protocol.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Signal, example::with_temporary_files, free_port, signal};

/// A page's scenario takes some seconds. A busy machine may need longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One window of a Chromium, which ends with the test.
pub struct Browser {
    driver: Child,
    client: Client,
    session: String,
    temporary: TempDir,
}

impl Browser {
    /// Starts Chromium without a visible window.
    pub async fn start() -> Self {
        let (mut command, temporary) = with_temporary_files("chromedriver".as_ref());
        // With `--port=0` it takes a free port of IPv4 and ends if the same port of IPv6 is taken.
        let port = free_port();
        let mut driver = command.arg(format!("--port={port}")).stdout(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("cannot run chromedriver ({error}): install it with `apt-get install chromium chromium-driver`")
        });
        let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        lines.find(|line| line.contains("started successfully on port")).expect("chromedriver starts");
        let mut browser =
            Self { driver, client: Client::new(), session: format!("http://127.0.0.1:{port}/session"), temporary };
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"];
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let begun = browser.call(Method::POST, "", &wanted).await;
        let id = begun["sessionId"].as_str().expect("a session");
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.call(Method::POST, "/url", &json!({ "url": url })).await;
    }

    /// Runs a script, and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.call(Method::POST, "/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Clicks an element as a person does: it must be visible and not covered.
    pub async fn click(&self, css: &str) {
        let wanted = json!({ "using": "css selector", "value": css });
        let found = self.call(Method::POST, "/element", &wanted).await;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str).expect("an element");
        self.call(Method::POST, &format!("/element/{id}/click"), &json!({})).await;
    }

    /// Presses and releases one key; `\u{e004}` is Tab, `\u{e007}` is Enter.
    pub async fn press(&self, key: char) {
        let strokes = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.call(Method::POST, "/actions", &actions).await;
    }

    /// Waits until a script returns a true value.
    pub async fn wait_for(&self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(script).await != Value::Bool(true) {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {script}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sets the width of the window, and the colour scheme that the system asks for: `light` or `dark`.
    async fn look_like(&self, width: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.developer("Emulation.setDeviceMetricsOverride", &metrics).await;
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.developer("Emulation.setEmulatedMedia", &media).await;
    }

    /// A picture of the whole page: PNG in base64.
    async fn screenshot(&self) -> String {
        let shot = self.developer("Page.captureScreenshot", &json!({ "captureBeyondViewport": true })).await;
        shot["data"].as_str().expect("a picture").to_owned()
    }

    /// Checks the page in a narrow and a wide window, light and dark. Nothing is wider than the window, and every text
    /// can be read. Saves a picture of each in the directory.
    pub async fn looks_good(&self, name: &str, directory: &Path) {
        // Away from the buttons, one of which would look as if it were meant.
        let corner = json!({ "type": "mouseMoved", "x": 0, "y": 0 });
        self.developer("Input.dispatchMouseEvent", &corner).await;
        for width in [360, 1280] {
            for scheme in ["light", "dark"] {
                self.look_like(width, scheme).await;
                let script = "return document.documentElement.scrollWidth;";
                assert_eq!(self.run(script).await, json!(width), "nothing sticks out at {width} px");
                let faint = self.run(include_str!("contrast.js")).await;
                assert_eq!(faint, json!([]), "too little contrast in {scheme}");
                let file = format!("{name}-{width}-{scheme}.txt");
                fs::write(directory.join(file), self.screenshot().await).expect("written");
            }
        }
    }

    /// Sends a command of Chromium's own protocol.
    async fn developer(&self, command: &str, parameters: &Value) -> Value {
        self.call(Method::POST, "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    /// Ends Chromium. It does not wait for a task, because it is called when the test ends.
    fn quit(&self) -> io::Result<()> {
        let (address, session) = self.session.trim_start_matches("http://").split_once('/').unwrap_or_default();
        let mut driver = TcpStream::connect(address)?;
        driver.set_read_timeout(Some(PATIENCE))?;
        write!(driver, "DELETE /{session} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        // The answer comes when Chromium has ended.
        driver.read(&mut [0; 1024]).map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.session)).body(body.to_string());
        let text = request.send().await.expect("chromedriver answers").text().await.expect("a body");
        let mut answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {}", answer["value"]);
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A signal would end the driver only, and leave its Chromium running.
        let _ = self.quit();
        signal(Signal::SIGTERM, &[self.driver.id()]);
        let _ = self.driver.wait();
        // Some of Chromium's processes end later, and write files until then.
        let deadline = Instant::now() + PATIENCE;
        while is_in_use(self.temporary.path()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a process has this directory in its environment.
fn is_in_use(directory: &Path) -> bool {
    let directory = directory.as_os_str().as_encoded_bytes();
    let names = |environment: Vec<u8>| environment.windows(directory.len()).any(|part| part == directory);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| fs::read(process.path().join("environ")).ok()).any(names)
}
