locals {
  pve_api_token = "root@pam!x=not-to-be-shown"
}
