/// Makes a crate of type `cdylib` a plugin: exports the one symbol that the host looks for.
///
/// ```ignore
/// export_plugin! {
///     transport: MyTransport,                    // or discovery, routing, store; or federation, for a transport between domains
///     id: "transport-mine",                      // lower-case letters, digits and '-'
///     config_schema: include_str!("../config.schema.json"),
///     needs: "qpq.host.identity/1",              // optional: host interfaces that it can't work without
///     exclusive: true,                           // optional: two instances can't work side by side
///     overlaps: true,                            // optional, for transports: they can, but for their ports
///     schemes: "mine mine+tls",                  // optional, for transports: URI schemes; else the id without "transport-"
/// }
/// ```
///
/// The keys stand in this order. Version and licence come from the crate's `Cargo.toml`. The macro works in a crate with `#![deny(unsafe_code)]` or
/// `#![forbid(unsafe_code)]`. Use it once in a crate.
#[macro_export]
macro_rules! export_plugin {
    (@kind transport) => { "transport" };
    (@kind federation) => { "federation" };
    (@kind discovery) => { "discovery" };
    (@kind routing) => { "routing" };
    (@kind store) => { "store" };
    (@interface transport) => { $crate::abi::interface::TRANSPORT };
    (@interface federation) => { $crate::abi::interface::TRANSPORT };
    (@interface discovery) => { $crate::abi::interface::DISCOVERY };
    (@interface routing) => { $crate::abi::interface::ROUTING };
    (@interface store) => { $crate::abi::interface::STORE };
    (@instance routing $plugin:ty) => { $crate::export::Shared<$plugin> };
    (@instance $kind:ident $plugin:ty) => { $plugin };
    (@vtable transport $plugin:ty) => { $crate::export::transport::<$plugin>() };
    (@vtable federation $plugin:ty) => { $crate::export::transport::<$plugin>() };
    (@vtable discovery $plugin:ty) => { $crate::export::discovery::<$plugin>() };
    (@vtable routing $plugin:ty) => { $crate::export::routing::<$plugin>() };
    (@vtable store $plugin:ty) => { $crate::export::store::<$plugin>() };
    (@or $default:expr,) => { $default };
    (@or $default:expr, $given:expr) => { $given };
    (
        $kind:ident: $plugin:ty,
        id: $id:expr,
        config_schema: $schema:expr
        $(, needs: $needs:expr)?
        $(, exclusive: $exclusive:expr)?
        $(, overlaps: $overlaps:expr)?
        $(, schemes: $schemes:expr)?
        $(,)?
    ) => {
        /// The plugin's descriptor, as the host reads it.
        pub static QPQ_PLUGIN: $crate::abi::Plugin = {
            unsafe extern "C" fn get_interface(id: $crate::abi::Str) -> *const ::std::ffi::c_void {
                let offered = [($crate::export_plugin!(@interface $kind), $crate::export_plugin!(@vtable $kind $plugin))];
                // SAFETY: the host lends the text for the call.
                unsafe { $crate::export::find_interface(id, &offered) }
            }
            $crate::export::Exported::<$crate::export_plugin!(@instance $kind $plugin)>::descriptor(
                $crate::export::Parts {
                    id: $id,
                    kind: $crate::export_plugin!(@kind $kind),
                    version: env!("CARGO_PKG_VERSION"),
                    licence: env!("CARGO_PKG_LICENSE"),
                    interfaces: $crate::export_plugin!(@interface $kind),
                    needs: $crate::export_plugin!(@or "", $($needs)?),
                    config_schema: $schema,
                    exclusive: $crate::export_plugin!(@or false, $($exclusive)?),
                    overlaps: $crate::export_plugin!(@or false, $($overlaps)?),
                    schemes: $crate::export_plugin!(@or "", $($schemes)?),
                    unwinds: cfg!(panic = "unwind"),
                },
                get_interface,
            )
        };

        /// The one symbol that the host looks for.
        #[unsafe(no_mangle)]
        pub extern "C" fn qpq_plugin_entry_v1() -> *const $crate::abi::Plugin {
            &QPQ_PLUGIN
        }
    };
}
