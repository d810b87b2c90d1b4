# On the primary: /etc/lockstepd/authorized_keys.d/repoupload-example (owner root, mode 0644). One line per key of the builder.
#
# restrict       no forwarding, no terminal, no ~/.ssh/rc
# -wo            write only: a builder has nothing to read here
# -munge         symlinks become harmless text until lockstepd has looked at them
# -no-del        nothing is deleted: the inbox is lockstepd's evidence
# rrsync locks the directory while it runs, which tells lockstepd that an upload is under way: never add -no-lock.
restrict,command="/usr/bin/rrsync -wo -munge -no-del /srv/mirror/inbox/example" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f builder
