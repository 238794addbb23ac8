//! Bytes in, load plan out: kernel formats, command line, ACPI, SMBIOS and entry state for x86_64 guests.
