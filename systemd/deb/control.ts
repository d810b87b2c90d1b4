/** The texts that dpkg reads: control, changelog. Pure: what is in the package is handed in. */

export interface Package {
  readonly version: string;
  /** Debian's name: amd64, arm64. */
  readonly architecture: string;
  /** `NAME <MAIL>` of who built it. */
  readonly packager: string;
  /** Seconds since 1970 of everything in it. */
  readonly epoch: number;
}

/** Debian's names of what Node and Debian both have. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The architecture of the Node that is packed, from `process.arch`; throws where there is no Debian for it. */
export function debianArchitecture(arch: string): string {
  const found = architectures[arch];
  if (found === undefined)
    throw new Error(`no package for ${arch}, expected one of ${Object.keys(architectures).join(', ')}`);
  return found;
}

/** Text of DEBIAN/control. `installedBytes` is the size of all files. */
export function controlText(its: Package, installedBytes: number): string {
  return `Package: lockstepd
Version: ${its.version}
Architecture: ${its.architecture}
Maintainer: ${its.packager}
Installed-Size: ${Math.ceil(installedBytes / 1024)}
Section: net
Priority: optional
Depends: ${depends.join(', ')}
Recommends: openssh-server, python3
Suggests: rclone, nginx, prometheus
Description: keep the mirrors of a signed apk package repository in lockstep
 lockstepd runs on the primary of a signed Alpine or postmarketOS repository.
 It verifies what a builder uploads over rsync, publishes it in one atomic
 step, brings every mirror to it by rsync, SFTP, rclone or into a directory,
 and measures how far each mirror is behind.
 .
 The package holds Node and all libraries; nothing is compiled or fetched when
 it is installed, and nothing is enabled or started.
`;
}

/**
 * What the Node of nodejs.org links against (glibc 2.28, GLIBCXX_3.4.21, CXXABI_1.3.11), the programs that the daemon and the
 * maintainer scripts start. sysusers and tmpfiles have stand-alone packages for a root without systemd.
 */
const depends = [
  'ca-certificates',
  'init-system-helpers (>= 1.54~)',
  'libc6 (>= 2.28)',
  'libgcc-s1 (>= 3.4)',
  'libstdc++6 (>= 7)',
  'openssh-client',
  // With rrsync, and with the fixes that facts about partial transfers rest on.
  'rsync (>= 3.5~)',
  'systemd | systemd-standalone-sysusers',
  'systemd | systemd-standalone-tmpfiles',
];

/** changelog.Debian: one entry, as what has changed is in changelog. */
export function changelogText(its: Package): string {
  return `lockstepd (${its.version}) unstable; urgency=medium

  * Built from its repository. What has changed: changelog.gz beside this.

 -- ${its.packager}  ${new Date(its.epoch * 1000).toUTCString().replace('GMT', '+0000')}
`;
}

/** What lintian says about this package that is meant to be so, each with its reason. */
export const lintianOverrides = `# The Node of nodejs.org as it was released, byte for byte: Debian 12 has none that is as new.
lockstepd: embedded-library *
lockstepd: unstripped-binary-or-object *
lockstepd: spelling-error-in-binary *
lockstepd: hardening-no-pie *
lockstepd: hardening-no-fortify-functions *
# usr/bin/lockstepd starts it, with the Node that came along.
lockstepd: script-not-executable *
# The licence of Node quotes those of its libraries, which are kept word by word.
lockstepd: copyright-file-contains-full-apache-2-license
lockstepd: old-fsf-address-in-copyright-file
# It is not part of Debian, and closes no request for a package.
lockstepd: initial-upload-closes-no-bugs *
`;
