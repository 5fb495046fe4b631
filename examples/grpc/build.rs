//! Generates the service's client and server without `protoc`. With a `.proto` file, `tonic-prost-build` does it.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let pay = Method::builder()
        .name("pay")
        .route_name("Pay")
        .input_type("crate::Payment")
        .output_type("crate::Receipt")
        .codec_path("tonic_prost::ProstCodec");
    let service = Service::builder().package("shop").name("Payments").method(pay.build()).build();
    Builder::new().compile(&[service]);
}
