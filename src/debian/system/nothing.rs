//! What has no place in an image, or is made of all files at its end: left out, with a word.

/// Commands, and what they do.
const LEFT_OUT: &[(&[&str], &str)] = &[
    (
        &[
            "deb-systemd-helper",
            "deb-systemd-invoke",
            "systemctl",
            "invoke-rc.d",
            "update-rc.d",
            "service",
            "start-stop-daemon",
            "/lib/runit-helper/runit-helper",
            "/usr/lib/runit-helper/runit-helper",
            "update-inetd",
        ],
        "services that an init would start",
    ),
    (&["kill", "killall", "pkill", "sleep", "reload_dbus_config", "dbus-send"], "running programs"),
    (&["py3compile", "py3clean", "pypy3compile", "pycompile"], "Python's bytecode"),
    (
        &["/usr/lib/emacsen-common/emacs-package-install", "/usr/lib/emacsen-common/emacs-install"],
        "Emacs' bytecode",
    ),
    // The loader's cache is made of all files.
    (&["ldconfig", "dpkg-trigger"], "triggers"),
    (
        &["update-mime", "update-mime-database", "update-desktop-database", "update-menus"],
        "the tables of MIME types and menus",
    ),
    (&["update-icon-caches", "gtk-update-icon-cache"], "the caches of icons"),
    (
        &[
            "/usr/lib/x86_64-linux-gnu/gdk-pixbuf-2.0/gdk-pixbuf-query-loaders",
            "/usr/lib/aarch64-linux-gnu/gdk-pixbuf-2.0/gdk-pixbuf-query-loaders",
            "/usr/lib/x86_64-linux-gnu/libgtk-3-0/gtk-query-immodules-3.0",
            "/usr/lib/aarch64-linux-gnu/libgtk-3-0/gtk-query-immodules-3.0",
            "/usr/lib/x86_64-linux-gnu/libgtk-3-0t64/gtk-query-immodules-3.0",
            "/usr/lib/aarch64-linux-gnu/libgtk-3-0t64/gtk-query-immodules-3.0",
            "/usr/lib/x86_64-linux-gnu/glib-2.0/gio-querymodules",
            "/usr/lib/aarch64-linux-gnu/glib-2.0/gio-querymodules",
            "/usr/lib/x86_64-linux-gnu/glib-2.0/glib-compile-schemas",
            "/usr/lib/aarch64-linux-gnu/glib-2.0/glib-compile-schemas",
            "glib-compile-schemas",
        ],
        "the caches of GTK and GLib",
    ),
    (
        &["fc-cache", "update-gsfontmap", "update-fonts-scale", "update-fonts-dir"],
        "the caches of fonts",
    ),
    (&["update-info-dir", "helpztags", "mandb"], "the indices of manuals"),
    (&["update-catalog", "update-xmlcatalog"], "the catalogues of SGML and XML"),
    (&["udevadm", "systemd-hwdb"], "the tables of devices"),
    (&["apparmor_parser", "restorecon"], "AppArmor and SELinux"),
    (&["setcap"], "capabilities of files"),
    // What libpam-runtime makes is reviewed; systemd's part has no use without it.
    (&["pam-auth-update"], "PAM's profiles of other packages"),
    (&["journalctl"], "the catalogue of the journal"),
    (&["update-initramfs", "update-grub", "update-binfmts", "depmod"], "the kernel"),
    // An identity is each machine's own.
    (&["systemd-machine-id-setup", "dbus-uuidgen", "ssh-keygen"], "the identity of a machine"),
    // CA certificates are bundled from all files.
    (&["update-ca-certificates"], "triggers"),
    (
        &[
            "db_input",
            "db_go",
            "db_stop",
            "db_version",
            "db_title",
            "db_settitle",
            "db_subst",
            "db_fset",
            "db_reset",
            "db_register",
            "db_unregister",
            "db_purge",
            "db_progress",
            "db_info",
            "db_capb",
            "db_beginblock",
            "db_endblock",
        ],
        "questions",
    ),
    (&["ucfr", "dpkg-maintscript-helper"], "files of earlier versions"),
    (&["chown", "chgrp", "setfacl"], "owners other than root"),
];

/// What a command does that is left out, if it is one.
pub(super) fn left_out(name: &str) -> Option<&'static str> {
    LEFT_OUT.iter().find(|(names, _)| names.contains(&name)).map(|(_, what)| *what)
}
